"""Chunks under owners' own keys: which of them wait for the units, and the session that re-keys one.

Once per chunk, in the journal's order. All models read what comes out, so that no learner knows of
owners' keys (docs/protocols.md, P17).
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import structs

from crypto.dtpkc import Ciphertext
from crypto.errors import CryptoError, LocalProtocolError, SchemaError
from crypto.parameters import encode_ciphertexts
from roles.arrival import Arrival
from roles.building_blocks.rekey import rekey_master, rekey_plan, rekey_secondary
from roles.chunk_encodings import ChunkEncodings, Vectors
from roles.classifiers.learner import MasterCall, SecondaryCall
from roles.plan import Plan, PlanViolationError
from roles.refusal import Refusal
from roles.session import MasterProgram, Session
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from roles.vectors import decode_vectors, encode_vectors
from schemas.chunks import RekeyedChunk
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.rounds import Subject
from schemas.snapshots import SealedPlace, WaitingChunk
from schemas.topics import TopicName

REKEY = "rekey"
"""Purpose of the sessions."""
MESSAGE_HASH_BYTES = 32


class NamedChunk(Protocol):
    """A chunk by its id and size."""

    @property
    def message_hash(self) -> bytes:
        """Id of the owner's message."""
        ...

    @property
    def records(self) -> int:
        """Records in it."""
        ...


@dataclass(slots=True)
class RekeyQueue:
    """Accepted chunks under owners' keys that are not re-keyed yet, in the journal's order."""

    chunks: deque[WaitingChunk] = field(default_factory=deque)

    @property
    def records(self) -> int:
        """Records of all of them."""
        return sum(chunk.records for chunk in self.chunks)

    def entry(self, sequence: int, head: bytes, place: SealedPlace) -> JournalEntry:
        """Return the journal entry that says that the first chunk was re-keyed.

        Args:
            sequence: Of the entry.
            head: Id of the entry before.
            place: Where the chunk lies under the service key, and the hash of its ciphertexts.
        """
        first = self.chunks[0]
        return JournalEntry(
            sequence,
            head,
            EntryKind.REKEYED,
            TopicName.REKEYED,
            place.partition,
            place.offset,
            place.message_hash,
            first.owner,
            first.owner_sequence,
            first.records,
            "",
            about=first.sequence,
            result=place.model_hash,
        )

    def closed(self, entry: JournalEntry) -> WaitingChunk:
        """Return the chunk that a ``rekeyed`` entry is about, as models wait for it.

        Raises:
            LocalProtocolError: It is not about the first one.
        """
        place = SealedPlace(entry.partition, entry.offset, entry.message_hash, entry.result)
        if not self.chunks or entry != self.entry(entry.sequence, entry.previous, place):
            raise LocalProtocolError(f"journal entry {entry.sequence} re-keys no chunk that is next")
        return structs.replace(self.chunks[0], rekeyed=(entry.partition, entry.offset, entry.message_hash))


def rekey_subject(owner: str, message_hash: bytes, records: int) -> Subject:
    """Return the subject of the session that re-keys a chunk."""
    return Subject(REKEY, client=owner, message_hash=message_hash, rows=records)


def chunk_plan(tenant: Tenant, records: int) -> Plan:
    """Return the plan for a chunk of so many records.

    Raises:
        LayoutError: So many records could overflow a slot.
    """
    return rekey_plan(tenant, sum(layout.ciphertexts for layout in ChunkEncodings(tenant).layouts(records)))


def rekey_call(tenant: Tenant, chunk: WaitingChunk, vectors: Vectors) -> MasterCall[Vectors]:
    """Return MU's session about a chunk; its result are the vectors under the service key.

    Args:
        tenant: Public facts.
        chunk: The chunk, its proof verified.
        vectors: Its ciphertexts under its owner's key.
    """
    key = tenant.roster.owner_keys[chunk.owner]
    flat = [ciphertext for vector in vectors.values() for ciphertext in vector]

    def program(
        session: Session, secrets: UnitSecrets, pool: ThreadPoolExecutor | None
    ) -> MasterProgram[Vectors]:
        rekeyed = yield from rekey_master(session, secrets, key, flat, pool)
        return _like(vectors, rekeyed)

    subject = rekey_subject(chunk.owner, chunk.message_hash, chunk.records)
    return MasterCall(subject, chunk_plan(tenant, chunk.records), program)


def secondary_rekey(tenant: Tenant, subject: Subject) -> SecondaryCall:
    """Return SU's half of the session about a subject.

    Raises:
        PlanViolationError: There is no such session.
    """
    if subject != rekey_subject(subject.client, subject.message_hash, subject.rows):
        raise PlanViolationError("re-keying is about a chunk alone")
    if subject.client not in tenant.roster.owner_keys or len(subject.message_hash) != MESSAGE_HASH_BYTES:
        raise PlanViolationError("not a chunk of an owner with a key of its own")
    if not 1 <= subject.rows <= tenant.configuration.limits.max_chunk_records:
        raise PlanViolationError("no chunk has so many records")
    return SecondaryCall(chunk_plan(tenant, subject.rows), rekey_secondary)


def rekeyed_chunk(tenant: Tenant, chunk: WaitingChunk, vectors: Vectors) -> RekeyedChunk:
    """Return what MU publishes of a re-keyed chunk."""
    return RekeyedChunk(chunk.message_hash, encode_vectors(tenant, vectors))


def rekeyed_vectors(encodings: ChunkEncodings, arrival: Arrival, chunk: NamedChunk) -> Vectors | None:
    """Return the ciphertexts of a re-keyed chunk as it is stored; None if it is not that of `chunk`."""
    tenant = encodings.tenant
    try:
        stored = decode(RekeyedChunk, arrival.body, len(arrival.body))
        layouts = encodings.layouts(chunk.records)
        vectors = decode_vectors(tenant, stored.vectors, encodings.names, layouts)
        vectors_hash(tenant, vectors)
    except (SchemaError, CryptoError, Refusal):
        return None
    return vectors if stored.chunk == chunk.message_hash else None


def vectors_hash(tenant: Tenant, vectors: Vectors) -> bytes:
    """Return SHA-256 over T1‖T2 of all ciphertexts in order.

    Raises:
        InvalidCiphertextError: A component is out of range.
    """
    flat = [ciphertext for vector in vectors.values() for ciphertext in vector]
    return hashlib.sha256(encode_ciphertexts(tenant.parameters, flat)).digest()


def _like(vectors: Vectors, flat: Sequence[Ciphertext]) -> Vectors:
    shaped, start = {}, 0
    for name, vector in vectors.items():
        shaped[name] = tuple(flat[start : start + len(vector)])
        start += len(vector)
    return shaped
