"""What owners publish: encrypted chunks, and the withdrawal of one."""

from schemas.codec import WireStruct


class EncodedVector(WireStruct):
    """One encoding of a chunk's records: T1‖T2 of each ciphertext, fixed width, in order."""

    encoding: str
    ciphertexts: bytes


class Chunk(WireStruct):
    """A batch of one owner's records; owner, sequence and key epoch stand in the envelope.

    Attributes:
        schema_digest: Which data schema the records follow.
        records: Their number; public.
        vectors: The encodings that the tenant's models read, in the tenant's order.
        proof: Proof of plaintext knowledge over all ciphertexts in order.
    """

    schema_digest: bytes
    records: int
    vectors: tuple[EncodedVector, ...]
    proof: bytes


class Withdrawal(WireStruct):
    """Takes out an accepted chunk of the same owner, exactly."""

    owner_sequence: int
