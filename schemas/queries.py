"""What clients ask and what they get."""

from schemas.chunks import EncodedVector
from schemas.codec import WireStruct

QUERY_ID_BYTES = 16


class Query(WireStruct):
    """Encrypted rows to be classified; their number is public.

    Attributes:
        query_id: Drawn by the client; one answer per (client, query).
        model_id: The model asked.
        schema_digest: Which data schema the rows follow.
        rows: Number of rows.
        scores: Whether more than the label is asked for, where the model can tell more.
        vectors: The rows in the encodings that the model reads, under the service key.
        proof: Proof of plaintext knowledge over all ciphertexts in order.
    """

    query_id: bytes
    model_id: str
    schema_digest: bytes
    rows: int
    scores: bool
    vectors: tuple[EncodedVector, ...]
    proof: bytes


class Answer(WireStruct):
    """What the units sealed for one query, or why there is nothing.

    Attributes:
        query_id: The query answered.
        rows: As asked.
        model_version: Version of the model that answered.
        reason: Empty when answered, else a reason code.
        ciphertexts: Packed values under the client's key; empty when refused.
    """

    query_id: bytes
    rows: int
    model_version: int
    reason: str
    ciphertexts: bytes
