"""What anyone may see of a tenant: topics, chunks, journal, the encrypted model. Public data only."""

from collections.abc import AsyncIterator
from typing import Any

from crypto.errors import SchemaError
from pipeline.errors import PipelineError
from pipeline.journal_fold import fold_journal
from pipeline.mailbox import Inbox
from pipeline.succession import enter_journaled
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.chunk_encodings import ChunkEncodings
from roles.tenant import Tenant
from schemas.chunks import Chunk
from schemas.codec import decode
from schemas.journal import CLOSING, EntryKind, JournalEntry
from schemas.models import classifier_of
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name


class NoSuchChunkError(PipelineError):
    """The chunks topic holds no chunk of that id."""

    code = ReasonCode.USAGE


async def inspect_topics(transport: Transport) -> list[dict[str, Any]]:
    """Return every topic with its size and bounds; offsets are per partition."""
    return [
        {
            "topic": info.topic,
            "partitions": info.partitions,
            "messages": info.messages,
            "bytes": info.bytes,
            "oldest_offset": list(info.oldest_offset),
            "next_offset": list(info.next_offset),
        }
        for info in await transport.topics()
    ]


async def inspect_chunk(transport: Transport, tenant: Tenant, chunk_id: str) -> dict[str, Any]:
    """Return what is public of a chunk.

    Raises:
        NoSuchChunkError: There is none of that id.
    """
    await enter_journaled(transport, tenant)
    async for arrival in _all(transport, tenant, TopicName.CHUNKS):
        if (
            isinstance(arrival, Arrival)
            and arrival.message_hash.hex() == chunk_id
            and arrival.kind == "chunk"
        ):
            chunk = decode(Chunk, arrival.body, len(arrival.body))
            encodings = ChunkEncodings(tenant)
            return {
                "chunk_id": chunk_id,
                "owner": arrival.sender,
                "owner_sequence": arrival.sequence,
                "partition": arrival.partition,
                "offset": arrival.offset,
                "records": chunk.records,
                "schema_sha256": chunk.schema_digest.hex(),
                "bytes": len(arrival.body),
                "proof_bytes": len(chunk.proof),
                "encodings": [
                    {
                        "encoding": vector.encoding,
                        "values": layout.values,
                        "slot_bits": layout.stride_bits,
                        "slots": layout.slots,
                        "ciphertexts": layout.ciphertexts,
                        "bytes": len(vector.ciphertexts),
                    }
                    for vector, layout in zip(chunk.vectors, encodings.layouts(chunk.records), strict=True)
                ],
            }
    raise NoSuchChunkError(
        "no chunk of that id on the topic", hint="`privml inspect journal` lists chunk ids"
    )


async def inspect_model(transport: Transport, tenant: Tenant, model_id: str | None = None) -> dict[str, Any]:
    """Return what is public of an encrypted model: recomputed, or as it was sealed by the units.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        model_id: Which model; None for the first.
    """
    spec = tenant.configuration.models[0] if model_id is None else tenant.model(model_id)
    unit = await fold_journal(transport, tenant)
    kept = unit.models[spec.model_id]
    model, layout = kept.model, kept.learner.layout(kept.model)
    return {
        "id": spec.model_id,
        "classifier": classifier_of(spec),
        "version": model.version,
        "layout": {
            "slot_bits": layout.stride_bits,
            "slots": layout.slots,
            "meaning": layout.meaning,
        },
        "ciphertexts": len(model.ciphertexts),
        "sha256": model.hash(tenant).hex(),
        "journal_sequence": unit.next_sequence - 1,
        "chunks": model.chunks,
        "records": model.records,
        "owners": model.owners,
        "waiting": len(kept.waiting),
        "learning": kept.lesson_size(),
        "public": kept.learner.described(model),
    }


async def inspect_journal(transport: Transport, tenant: Tenant) -> list[dict[str, Any]]:
    """Return the journal's entries in order; what MU did not sign is listed as ignored."""
    entries: list[dict[str, Any]] = []
    async for arrival in _all(transport, tenant, TopicName.JOURNAL):
        if isinstance(arrival, Refused):
            entries.append({"offset": arrival.arrival.offset, "ignored": arrival.reason})
            continue
        try:
            entry = decode(JournalEntry, arrival.body)
        except SchemaError as error:
            entries.append({"offset": arrival.offset, "ignored": error.code})
            continue
        entries.append(
            {
                "offset": arrival.offset,
                "sequence": entry.sequence,
                "id": arrival.message_hash.hex(),
                "previous": entry.previous.hex(),
                "kind": entry.kind,
                "sender": entry.sender or None,
                "sender_sequence": entry.sender_sequence,
                "topic": entry.topic,
                "partition": entry.partition,
                "message_offset": entry.offset,
                "message_id": entry.message_hash.hex(),
                "records": entry.records,
                "reason": entry.reason or None,
                "model": entry.model_id or None,
                "model_version": entry.model_version if entry.model_id else None,
                "about": entry.about if entry.kind in CLOSING else None,
                "invalid": list(entry.invalid),
                "configuration_sha256": entry.result.hex() if entry.kind == EntryKind.CONFIGURED else None,
            }
        )
    return entries


async def _all(transport: Transport, tenant: Tenant, topic: TopicName) -> AsyncIterator[Arrival | Refused]:
    end = await transport.end_offset(topic_name(tenant.name, topic), 0)
    start = await transport.beginning_offset(topic_name(tenant.name, topic), 0)
    inbox = Inbox(transport, tenant, topic, offset=start)
    while (before := inbox.next_offset) < end:
        for arrival in await inbox.receive(wait_seconds=0.0):
            yield arrival
        if inbox.next_offset == before:
            return
