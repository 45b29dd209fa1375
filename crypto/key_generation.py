"""What the dealer makes once, and the key that every party makes for itself.

Source:
    Liu et al. 2016 (DT-PKC), KeyGen; Bresson, Catalano, Pointcheval 2003; docs/protocols.md §1.
"""

from concurrent.futures import ThreadPoolExecutor

from crypto.arithmetic import gcd, power
from crypto.coins import Coins
from crypto.dtpkc import Parameters, PublicKey, WeakPrivateKey
from crypto.errors import InvalidKeyError
from crypto.primes import Progress, safe_prime
from crypto.profiles import Profile
from crypto.strong_key import StrongPrivateKey


def generate_parameters(
    profile: Profile,
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
    progress: Progress | None = None,
) -> tuple[Parameters, StrongPrivateKey]:
    """Make a modulus of two safe primes and a generator, and the strong key with them.

    Args:
        profile: The sizes.
        coins: Fresh ones.
        pool: Threads for the prime search.
        progress: Hears of the search for p, then anew of that for q.

    Security:
        Whoever holds the strong key reads everything under this modulus. The dealer splits it
        where owner-key mode needs shares, then destroys it.

    Cost:
        About 2,800 Fermat tests of 1536 bits for |N| = 3072: some 100 times a power mod N²
        with an |N|-bit exponent.
    """
    bits = profile.prime_bits
    p = safe_prime(bits, coins, pool, progress)
    q = p
    # Close primes are found by Fermat's method; the bound is FIPS 186-5's.
    while abs(p - q).bit_length() <= max(0, bits - 100):
        q = safe_prime(bits, coins, pool, progress)
    g = _generator(p, q, coins)
    parameters = Parameters(profile, p * q, g)
    return parameters, StrongPrivateKey(parameters, p, q)


def generate_weak_key(parameters: Parameters, coins: Coins) -> WeakPrivateKey:
    """Make a key pair with a uniform even θ of at most the profile's exponent bits.

    Even, because a sender may negate T2 unnoticed (−1 has Jacobi symbol +1): an even power
    forgets the sign, an odd one would turn it into the sign of what L sees.
    """
    while True:
        theta = 2 * coins.integer_bits(parameters.profile.exponent_bits - 1)
        h = parameters.power(parameters.g, theta)
        # Trivial only with negligible probability at real sizes.
        if h % parameters.n not in {1, parameters.n - 1}:
            return WeakPrivateKey(PublicKey(parameters, h), theta)


def _generator(p: int, q: int, coins: Coins) -> int:
    n = p * q
    while True:
        # Unlike the paper, without a minus: a 2N-th residue of order p'q'. The paper's −a^{2N}
        # has order 2p'q', and half of all ciphertexts under an odd θ open wrongly.
        g = power(coins.unit_below(n), 2 * n, n * n)
        if gcd(g % n - 1, n) != 1:
            # Trivial modulo one of the primes: a chance of 1/p' or so, real for toy sizes.
            continue
        if power(g, (p // 2) * (q // 2), n * n) != 1:
            raise InvalidKeyError("p and q are not safe primes")
        return g
