"""What owners publish: encrypted chunks, and the withdrawal of one; what the units make of a chunk."""

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


class RekeyedChunk(WireStruct):
    """What MU publishes of a chunk under an owner's key: the same plaintexts under the service key.

    Attributes:
        chunk: Message id of the chunk.
        vectors: As in the chunk.
    """

    chunk: bytes
    vectors: tuple[EncodedVector, ...]


class Withdrawal(WireStruct):
    """Takes out an accepted chunk of the same owner, exactly."""

    owner_sequence: int
