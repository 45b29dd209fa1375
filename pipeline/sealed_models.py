"""Sealed models on the snapshots topic: written by MU, found again by their place."""

import asyncio
import hashlib
from dataclasses import dataclass
from types import MappingProxyType

from crypto.dtpkc import Ciphertext
from crypto.errors import CryptoError, LocalProtocolError, SchemaError
from crypto.parameters import decode_ciphertexts, encode_ciphertexts
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.learners import AnyLearner
from roles.model_state import ModelState
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.snapshots import SealedModel, SealedPlace
from schemas.topics import TopicName, topic_name

KIND = "model"
KEPT_VERSIONS = 256
"""Versions of a model that a compacted topic keeps: more than any lesson goes on by."""


@dataclass(frozen=True, slots=True)
class AbsentContent:
    """Stands for the content of a version that nobody has looked up yet.

    Attributes:
        place: Where it lies.
    """

    place: SealedPlace

    @property
    def model_hash(self) -> bytes:
        """Hash of the version that is meant."""
        return self.place.model_hash

    @property
    def public_ciphertexts(self) -> tuple[Ciphertext, ...]:
        """Nothing can be done with it before it is looked up."""
        raise LocalProtocolError("the content of this version was not looked up")


async def seal_model(
    publisher: Publisher, learner: AnyLearner, model: ModelState, key: str = ""
) -> SealedPlace:
    """Put a version on the snapshots topic; return where it lies.

    Args:
        publisher: MU's.
        learner: Of the model.
        model: The version.
        key: Under which the topic keeps it; by default the last versions are kept.
    """
    body, model_hash = await asyncio.to_thread(_sealed, learner, model)
    key = key or f"{learner.model_id}/{model.version % KEPT_VERSIONS}"
    published = await publisher.publish(TopicName.SNAPSHOTS, KIND, sequence_of(body), body, key=key.encode())
    position = published.position
    return SealedPlace(position.partition, position.offset, published.message_hash, model_hash)


async def sealed_model(
    transport: Transport, tenant: Tenant, learner: AnyLearner, place: SealedPlace, *, search: bool = False
) -> ModelState | None:
    """Return the version that lies at a place; None if another one does, or nothing.

    With `search` the same message further on will do: a compacted topic drops a message for the same one
    again, which another life of MU may have written.
    """
    arrival = await stored_message(
        transport, tenant, TopicName.SNAPSHOTS, place.partition, place.offset, place.message_hash
    )
    if arrival is None and search:
        arrival = await _same_again(transport, tenant, place)
    if arrival is None or arrival.kind != KIND:
        return None
    return await asyncio.to_thread(_restored, learner, arrival.body, place)


async def _same_again(transport: Transport, tenant: Tenant, place: SealedPlace) -> Arrival | None:
    name = topic_name(tenant.name, TopicName.SNAPSHOTS)
    beginning = await transport.beginning_offset(name, place.partition)
    end = await transport.end_offset(name, place.partition)
    inbox = Inbox(
        transport,
        tenant,
        TopicName.SNAPSHOTS,
        partition=place.partition,
        offset=min(max(beginning, place.offset), end),
    )
    while (before := inbox.next_offset) < end:
        for message in await inbox.receive(0.0):
            if isinstance(message, Arrival) and message.message_hash == place.message_hash:
                return message
        if inbox.next_offset == before:
            break
    return None


def _sealed(learner: AnyLearner, model: ModelState) -> tuple[bytes, bytes]:
    ciphertexts = encode_ciphertexts(learner.tenant.parameters, model.ciphertexts)
    body = encode(
        SealedModel(
            learner.model_id,
            model.version,
            model.chunks,
            model.records,
            tuple(sorted(model.records_of.items())),
            learner.detail(model.content),
            ciphertexts,
        )
    )
    return body, hashlib.sha256(ciphertexts).digest()


def _restored(learner: AnyLearner, body: bytes, place: SealedPlace) -> ModelState | None:
    try:
        sealed = decode(SealedModel, body, max(len(body), 1))
        if sealed.model_id != learner.model_id:
            return None
        if hashlib.sha256(sealed.ciphertexts).digest() != place.model_hash:
            return None
        parameters = learner.tenant.parameters
        ciphertexts = tuple(decode_ciphertexts(parameters, sealed.ciphertexts))
        # Only what can be written again is in range.
        encode_ciphertexts(parameters, ciphertexts)
        content = learner.restored(sealed.detail, sealed.records, ciphertexts)
    except (SchemaError, CryptoError, ValueError):
        return None
    return ModelState(
        learner.spec,
        content,
        sealed.version,
        sealed.chunks,
        sealed.records,
        MappingProxyType(dict(sealed.records_of)),
        place,
    )
