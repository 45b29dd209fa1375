"""From the bytes of a chunk or a query to something whose proof can be checked, cheapest checks first.

Nothing here depends on what came before. What does (repetition, capacity, quota) is `MasterUnit`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, PublicKey
from crypto.errors import ProofError
from crypto.plaintext_proof import PlaintextProof, Statement, failing_statements, verify_plaintexts
from crypto.validation import validate_ciphertexts
from roles.arrival import Arrival
from roles.chunk_encodings import ChunkEncodings, Vectors
from roles.learners import AnyLearner
from roles.refusal import Refusal
from roles.tenant import Tenant, statement_context
from roles.vectors import decode_vectors
from schemas.chunks import Chunk, Withdrawal
from schemas.codec import decode
from schemas.queries import QUERY_ID_BYTES, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

Proven: TypeAlias = tuple[PublicKey, Statement]
"""What a message claims to know, and the key that it encrypts under."""


@dataclass(frozen=True, slots=True)
class ScreenedChunk:
    """A chunk that passed every check but the proof.

    Attributes:
        arrival: The message.
        records: Its records.
        vectors: Its ciphertexts by encoding.
        statement: What its proof must show.
        key: Under which key.
    """

    arrival: Arrival
    records: int
    vectors: Vectors
    statement: Statement
    key: PublicKey

    @property
    def proven(self) -> Proven:
        """Key and statement, for `failing_proofs`."""
        return self.key, self.statement


@dataclass(frozen=True, slots=True)
class ScreenedQuery:
    """A query that passed every check but the proof; see `ScreenedChunk`."""

    arrival: Arrival
    query: Query
    vectors: Vectors
    statement: Statement
    key: PublicKey

    @property
    def proven(self) -> Proven:
        """Key and statement, for `failing_proofs`."""
        return self.key, self.statement


def read_chunk(tenant: Tenant, arrival: Arrival) -> Chunk | Withdrawal:
    """Read a message of the chunks topic; its ciphertexts are not looked at.

    Raises:
        Refusal, SchemaError: With the reason code.
    """
    if arrival.kind == "withdrawal":
        return decode(Withdrawal, arrival.body)
    if arrival.kind != "chunk":
        raise Refusal(ReasonCode.MALFORMED)
    chunk = decode(Chunk, arrival.body, len(arrival.body))
    if chunk.schema_digest != tenant.schema.digest:
        raise Refusal(ReasonCode.WRONG_SCHEMA)
    return chunk


def screen_chunk(encodings: ChunkEncodings, arrival: Arrival, chunk: Chunk) -> ScreenedChunk:
    """Check a chunk's size, encodings and ciphertexts.

    Raises:
        Refusal, CryptoError: With the reason code.
    """
    tenant = encodings.tenant
    if not 1 <= chunk.records <= tenant.configuration.limits.max_chunk_records:
        raise Refusal(ReasonCode.TOO_MANY_ROWS)
    layouts = encodings.layouts(chunk.records)
    vectors = decode_vectors(tenant, chunk.vectors, encodings.names, layouts)
    place = arrival.sender, arrival.topic, arrival.sequence
    context = statement_context(tenant, "owner", *place, layouts, arrival.key_epoch)
    statement = _statement(tenant, vectors, chunk.proof, context)
    return ScreenedChunk(arrival, chunk.records, vectors, statement, tenant.chunk_key(arrival.sender))


def read_query(tenant: Tenant, arrival: Arrival) -> Query:
    """Read a message of the queries topic; its ciphertexts are not looked at.

    Raises:
        Refusal, SchemaError: With the reason code.
    """
    if arrival.kind != "query":
        raise Refusal(ReasonCode.MALFORMED)
    query = decode(Query, arrival.body, len(arrival.body))
    if len(query.query_id) != QUERY_ID_BYTES:
        raise Refusal(ReasonCode.MALFORMED)
    return query


def screen_query(learner: AnyLearner, arrival: Arrival, query: Query) -> ScreenedQuery:
    """Check a query's size, encodings and ciphertexts.

    Raises:
        Refusal, CryptoError: With the reason code.
    """
    tenant = learner.tenant
    # A query counts in the key epoch that it names; what an earlier one refused shall not come again.
    if arrival.key_epoch != tenant.roster.key_epoch_at(TopicName.QUERIES, arrival.offset):
        raise Refusal(ReasonCode.WRONG_KEY_EPOCH)
    if query.schema_digest != tenant.schema.digest:
        raise Refusal(ReasonCode.WRONG_SCHEMA)
    if not 1 <= query.rows <= tenant.configuration.limits.max_query_rows:
        raise Refusal(ReasonCode.TOO_MANY_ROWS)
    layouts = learner.query_layouts(query.rows)
    vectors = decode_vectors(tenant, query.vectors, learner.query_encodings, layouts)
    place = arrival.sender, arrival.topic, query.query_id
    context = statement_context(tenant, "client", *place, layouts, arrival.key_epoch)
    statement = _statement(tenant, vectors, query.proof, context)
    return ScreenedQuery(arrival, query, vectors, statement, tenant.service_key)


def failing_proofs(proven: Sequence[Proven]) -> frozenset[int]:
    """Return whose proofs do not verify; all under one key are checked together first.

    Cost:
        Two powers for every key, by table where there is one, and one multi-exponentiation base per
        component.
    """
    places: dict[PublicKey, list[int]] = {}
    for place, (key, _) in enumerate(proven):
        places.setdefault(key, []).append(place)
    failing: set[int] = set()
    for key, under in places.items():
        statements = [proven[place][1] for place in under]
        try:
            verify_plaintexts(key, statements, Coins.fresh())
        except ProofError:
            failing |= {under[bad] for bad in failing_statements(key, statements, Coins.fresh())}
    return frozenset(failing)


def _statement(tenant: Tenant, vectors: Vectors, proof: bytes, context: bytes) -> Statement:
    ciphertexts: tuple[Ciphertext, ...] = tuple(c for vector in vectors.values() for c in vector)
    validate_ciphertexts(tenant.parameters, ciphertexts)
    decoded = PlaintextProof.decode(tenant.parameters, len(ciphertexts), proof)
    return Statement(ciphertexts, decoded, context)
