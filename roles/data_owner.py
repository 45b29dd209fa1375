"""The data owner: counts of a batch of records become an encrypted chunk (docs/protocols.md §4)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from crypto.coins import Coins
from crypto.dtpkc import draw_exponent
from crypto.parameters import encode_ciphertexts
from crypto.plaintext_proof import prove_plaintexts
from roles.encoding import Counts
from roles.tenant import Tenant, statement_context
from schemas.chunks import Chunk, EncodedVector
from schemas.topics import TopicName


def make_chunk(
    tenant: Tenant,
    owner: str,
    sequence: int,
    counts: Counts,
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> Chunk:
    """Encrypt the counts of one chunk and prove knowledge of them.

    Args:
        tenant: Public facts.
        owner: The owner's name; the proof is bound to it.
        sequence: The owner's number for this chunk; the proof is bound to it.
        counts: Of at least one record.
        coins: Fresh from the operating system.
        pool: Threads for the powers.

    Raises:
        PlaintextRangeError: There are no records, or a count exceeds them.

    Security:
        Public are the owner, the number of records and the encoding. An owner that aggregates
        reveals less than one that sends records.

    Cost:
        Two fixed-base powers per ciphertext, and two longer ones for the proof.
    """
    records = int(counts.class_counts.sum())
    layout = tenant.counts_layout(records)
    values = np.concatenate([counts.feature_counts.reshape(-1), counts.class_counts])
    plaintexts = layout.pack(values)
    randomness = [draw_exponent(tenant.parameters, coins) for _ in plaintexts]
    ciphertexts = tenant.service_key.encrypt_many_with(plaintexts, randomness, pool)
    context = statement_context(tenant, "owner", owner, TopicName.CHUNKS, sequence, (layout,))
    proof = prove_plaintexts(
        tenant.service_key, ciphertexts, plaintexts, randomness, context=context, coins=coins
    )
    return Chunk(
        tenant.schema.digest,
        records,
        (EncodedVector("counts", encode_ciphertexts(tenant.parameters, ciphertexts)),),
        proof.encode(tenant.parameters, len(ciphertexts)),
    )
