"""Random primes that are 3 mod 4: what both of Bost et al.'s cryptosystems can be made of."""

from crypto.arithmetic import is_probable_prime
from crypto.coins import Coins


def prime(bits: int, coins: Coins) -> int:
    """Return a random prime of exactly that length, its two top bits set, 3 mod 4."""
    while True:
        candidate = coins.integer_bits(bits) | 3 << (bits - 2) | 3
        if is_probable_prime(candidate):
            return candidate
