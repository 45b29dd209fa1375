"""A hyperplane: the server sends its encrypted weights once; the client multiplies and asks for the sign.

Source:
    Bost et al. 2015, section V, for two classes.
"""

from collections.abc import Sequence

from benchmarks.baselines.bost.comparison import Parties, at_most_encrypted


def publish(parties: Parties, weights: Sequence[int]) -> list[int]:
    """Return the server's encrypted weights, the bias last: sent once, whatever is asked."""
    parties.send_paillier(parties.b, len(weights))
    return [parties.paillier.encrypt(weight) for weight in weights]


def classify(parties: Parties, width: int, encrypted: Sequence[int], row: Sequence[int]) -> int:
    """Return to the client whether the hyperplane leaves its row on the side of 1.

    Args:
        parties: The client is A, the server B, who opens the masked answer for the client.
        width: Scores are below 2^(width − 1) in absolute value.
        encrypted: What the server sent.
        row: The client's numbers, without the bias's 1.
    """
    paillier, residues = parties.paillier, parties.residues
    products = [paillier.times(weight, x) for weight, x in zip(encrypted, row, strict=False)]
    half = 1 << (width - 1)
    score = paillier.add(*products, encrypted[-1], (1 + half * paillier.n) % paillier.n_squared)
    middle = paillier.encrypt(half)
    side = at_most_encrypted(parties, width, middle, score)
    # Only the client is to know: B opens the bit under a mask of the client's.
    hidden = parties.coins.integer_bits(1)
    parties.send_residues(parties.a, 1)
    shown = residues.decrypt(residues.xor(side, residues.encrypt(hidden)))
    parties.transcript.send(parties.b, 1)
    return shown ^ hidden
