"""What clients ask and what they get."""

from schemas.codec import WireStruct

QUERY_ID_BYTES = 16


class Query(WireStruct):
    """Encrypted rows to be classified; their number is public.

    Attributes:
        query_id: Drawn by the client; one answer per (client, query).
        model_id: The model asked.
        schema_digest: Which data schema the rows follow.
        rows: Number of rows.
        ciphertexts: The packed one-hot bits of all rows, T1‖T2 each, under the service key.
        proof: Proof of plaintext knowledge over all ciphertexts.
    """

    query_id: bytes
    model_id: str
    schema_digest: bytes
    rows: int
    ciphertexts: bytes
    proof: bytes


class Answer(WireStruct):
    """The sealed labels of one query, or why there are none.

    Attributes:
        query_id: The query answered.
        rows: As asked.
        model_version: Chunks folded into the model that answered (withdrawals count too).
        reason: Empty when answered, else a reason code.
        ciphertexts: Packed label indices under the client's key; empty when refused.
    """

    query_id: bytes
    rows: int
    model_version: int
    reason: str
    ciphertexts: bytes
