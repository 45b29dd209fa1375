"""The greatest of encrypted numbers: A learns its place and nothing else, B nothing at all.

Source:
    Bost et al. 2015, protocol 1.
"""

from collections.abc import Sequence

from benchmarks.baselines.bost.comparison import MASK_BITS, Parties, at_most_opened
from crypto.coins import Coins


def argmax(parties: Parties, width: int, ciphertexts: Sequence[int]) -> int:
    """Return to A the place of the greatest number.

    Args:
        parties: A holds the ciphertexts, B the key.
        width: Numbers are below 2^width.
        ciphertexts: Under Paillier, at least one.

    Cost:
        k − 1 comparisons that B sees the outcome of, under an order that only A knows; after each one A
        sends two masked candidates, and gets one of them and the bit back.
    """
    paillier = parties.paillier
    order = shuffled(len(ciphertexts), parties.coins)
    greatest, place = ciphertexts[order[0]], 0
    for number, candidate in enumerate(order[1:], start=1):
        greater = at_most_opened(parties, width, greatest, ciphertexts[candidate])
        masks = [parties.coins.integer_bits(width + MASK_BITS) for _ in range(2)]
        offered = [
            paillier.add(value, paillier.encrypt(mask))
            for value, mask in zip((greatest, ciphertexts[candidate]), masks, strict=True)
        ]
        parties.send_paillier(parties.a, 2)
        chosen, bit = paillier.refresh(offered[greater]), paillier.encrypt(int(greater))
        place = number if greater else place
        parties.send_paillier(parties.b, 2)
        # chosen − (1 − bit) · first mask − bit · second mask
        bias = paillier.times(bit, masks[0] - masks[1])
        greatest = paillier.add(chosen, bias, (1 - masks[0] * paillier.n) % paillier.n_squared)
    parties.transcript.send(parties.b, 1)
    return order[place]


def shuffled(length: int, coins: Coins) -> list[int]:
    """Return a uniform order of 0 to length − 1."""
    order = list(range(length))
    for last in range(length - 1, 0, -1):
        other = coins.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return order
