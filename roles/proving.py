"""What owners and clients do alike: encrypt vectors under one key with one proof for all."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from crypto.coins import Coins
from crypto.dtpkc import PublicKey, draw_exponent
from crypto.plaintext_proof import prove_plaintexts
from roles.chunk_encodings import Vectors


def encrypt_and_prove(
    key: PublicKey,
    plaintexts: Mapping[str, Sequence[int]],
    context: bytes,
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> tuple[Vectors, bytes]:
    """Encrypt packed plaintexts by encoding, and prove knowledge of all of them together.

    Args:
        key: The service key, or an owner's own.
        plaintexts: By encoding, in the order in which they travel.
        context: What the proof is bound to.
        coins: Fresh from the operating system.
        pool: Threads for the powers.

    Returns:
        The ciphertexts by encoding, and the proof as it travels.

    Cost:
        Two fixed-base powers per ciphertext, and two longer ones for the proof.
    """
    parameters = key.parameters
    flat = [plaintext for packed in plaintexts.values() for plaintext in packed]
    randomness = [draw_exponent(parameters, coins) for _ in flat]
    ciphertexts = key.encrypt_many_with(flat, randomness, pool)
    proof = prove_plaintexts(key, ciphertexts, flat, randomness, context=context, coins=coins)
    vectors, start = {}, 0
    for name, packed in plaintexts.items():
        vectors[name] = tuple(ciphertexts[start : start + len(packed)])
        start += len(packed)
    return vectors, proof.encode(parameters, len(ciphertexts))
