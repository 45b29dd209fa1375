"""What journal entries name and do not hold: fetched by whoever folds them."""

from dataclasses import dataclass, field

from crypto.errors import CryptoError, SchemaError
from crypto.parameters import encode_ciphertexts
from roles.arrival import Arrival
from roles.chunk_encodings import ChunkEncodings, Vectors
from roles.model_state import Content
from roles.refusal import Refusal
from roles.roster import Change
from roles.vectors import decode_vectors
from schemas.chunks import Chunk
from schemas.codec import decode
from schemas.queries import Query


@dataclass(frozen=True, slots=True)
class EntryContent:
    """What an entry names and does not hold.

    Attributes:
        vectors: Of the chunk, for ``accept`` and ``withdraw``.
        query_id: The query's own id, for ``query``.
        learnt: The model's content after it, for ``learnt``.
        change: What the version changes, for ``configured``.
    """

    vectors: Vectors = field(default_factory=dict, repr=False)
    query_id: bytes = b""
    learnt: Content | None = field(default=None, repr=False)
    change: Change | None = field(default=None, repr=False)


NOTHING = EntryContent()


def chunk_vectors(encodings: ChunkEncodings, arrival: Arrival) -> Vectors | None:
    """Return the vectors of a stored chunk as the fold takes them; None if they are not of its shape."""
    tenant = encodings.tenant
    try:
        chunk = decode(Chunk, arrival.body, len(arrival.body))
        vectors = decode_vectors(tenant, chunk.vectors, encodings.names, encodings.layouts(chunk.records))
        # Whoever accepts it against the rules may have accepted anything.
        for ciphertexts in vectors.values():
            encode_ciphertexts(tenant.parameters, ciphertexts)
    except (SchemaError, CryptoError, Refusal):
        return None
    return vectors


def query_id(arrival: Arrival) -> bytes:
    """Return the number of a stored query; nothing if it is not readable."""
    try:
        return decode(Query, arrival.body, len(arrival.body)).query_id
    except SchemaError:
        return b""
