"""The data owner: a batch of records becomes an encrypted chunk (docs/protocols.md §4)."""

from concurrent.futures import ThreadPoolExecutor

from crypto.coins import Coins
from roles.chunk_encodings import ChunkEncodings
from roles.encoding import EncodedRecords
from roles.proving import encrypt_and_prove
from roles.tenant import Tenant, statement_context
from roles.vectors import encode_vectors
from schemas.chunks import Chunk
from schemas.topics import TopicName


def make_chunk(
    tenant: Tenant,
    owner: str,
    sequence: int,
    records: EncodedRecords,
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> Chunk:
    """Encrypt a chunk in every encoding that the tenant's models read, and prove knowledge of it.

    Args:
        tenant: Public facts.
        owner: The owner's name; the proof is bound to it.
        sequence: The owner's number for this chunk; the proof is bound to it.
        records: At least one, with labels, and with words where a model reads them.
        coins: Fresh from the operating system.
        pool: Threads for the powers.

    Raises:
        LocalProtocolError: Labels or words are missing, or a value is outside its range.

    Security:
        Public are the owner, the number of records and the encodings. An owner that aggregates
        (`counts`) reveals less than one that sends records.

    Cost:
        Two fixed-base powers per ciphertext, and two longer ones for the proof.
    """
    encodings = ChunkEncodings(tenant)
    layouts = encodings.layouts(len(records))
    context = statement_context(tenant, "owner", owner, TopicName.CHUNKS, sequence, layouts)
    plaintexts = encodings.plaintexts(records)
    vectors, proof = encrypt_and_prove(tenant.chunk_key(owner), plaintexts, context, coins, pool)
    return Chunk(tenant.schema.digest, len(records), encode_vectors(tenant, vectors), proof)
