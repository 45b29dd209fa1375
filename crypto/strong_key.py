"""The strong key: λ opens every public key under one modulus; two shares of it open in two steps.

Only the dealer ever holds a `StrongPrivateKey`, and destroys it. The units hold shares, and only
where owners encrypt under keys of their own. There are two forms of share: the paper's, and the
*root form*, which computes an N-th root modulo N instead of a power modulo N² and is used in
production.

Source:
    Liu et al. 2016 (DT-PKC), SDec, PSDec1, PSDec2; docs/protocols.md §1.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

from crypto.arithmetic import inverse, power, powers, products_pairwise
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, Parameters, log_total
from crypto.errors import InvalidKeyError


@dataclass(frozen=True, slots=True)
class StrongShare:
    """One summand of s (s = 0 mod λ, s = 1 mod N), modulo λN.

    Security:
        Secret: hidden from repr, refuses pickling. Says nothing on its own: the first share is
        uniform, and the second the rest.
    """

    parameters: Parameters
    exponent: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.exponent < 0:
            raise InvalidKeyError("a share is not negative")

    def __reduce__(self) -> NoReturn:
        raise TypeError("key shares are not pickled")


@dataclass(frozen=True, slots=True)
class RootShare:
    """One summand of t = −N^-1 mod p'q', as its even representative in [0, 2p'q').

    Even, so that a negated T1 (Jacobi symbol +1, not to be told from others) gives the same root.

    Security:
        Secret: hidden from repr, refuses pickling.
    """

    parameters: Parameters
    exponent: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.exponent < 0:
            raise InvalidKeyError("a share is not negative")

    def __reduce__(self) -> NoReturn:
        raise TypeError("key shares are not pickled")


@dataclass(frozen=True, slots=True)
class StrongPrivateKey:
    """The factors of N: opens every ciphertext under this modulus, whatever its key.

    Raises:
        InvalidKeyError: p and q are equal, or not the odd factors of N.

    Security:
        Secret: hidden from repr, refuses pickling. Exists at the dealer only, during setup.
    """

    parameters: Parameters
    p: int = field(repr=False)
    q: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.p * self.q != self.parameters.n or self.p == self.q or min(self.p, self.q) < 7:
            raise InvalidKeyError("p and q are not two factors of N")

    def __reduce__(self) -> NoReturn:
        raise TypeError("private keys are not pickled")

    @property
    def order(self) -> int:
        """p'q', the order of the group that g generates."""
        return (self.p // 2) * (self.q // 2)

    @property
    def carmichael(self) -> int:
        """λ = 2p'q', the exponent of the group of units mod N."""
        return 2 * self.order

    def decrypt(self, ciphertext: Ciphertext) -> int:
        """Return the plaintext in [0, N) of a ciphertext under any key; T2 is not used.

        Raises:
            NotOpenableError: T1 is not a unit.

        Cost:
            One power with |N| bits.
        """
        n = self.parameters.n
        raised = power(ciphertext.t1, self.carmichael, self.parameters.n_squared)
        return log_total(raised, n) * inverse(self.carmichael, n) % n

    def split(self, coins: Coins) -> tuple[StrongShare, StrongShare]:
        """Split s into a uniform share and the rest, modulo λN.

        Security:
            Uniform *must* mean the whole range [0, λN). Several published toolkits draw 128
            bits; then s1 = (1 − s2) mod N, the holder of s2 opens everything and factors N.
        """
        n, carmichael = self.parameters.n, self.carmichael
        # s = 0 mod λ and 1 mod N
        secret = carmichael * inverse(carmichael, n)
        modulus = carmichael * n
        first = coins.below(modulus)
        return (
            StrongShare(self.parameters, first),
            StrongShare(self.parameters, (secret - first) % modulus),
        )

    def split_root(self, coins: Coins) -> tuple[RootShare, RootShare]:
        """Split t = −N^-1 mod p'q' into two even exponents, the first uniform among them."""
        order = self.order
        secret = -inverse(self.parameters.n, order) % order
        first = coins.below(order)
        return (
            RootShare(self.parameters, _even_representative(first, order)),
            RootShare(self.parameters, _even_representative((secret - first) % order, order)),
        )


def partial_decrypt(
    ciphertexts: Sequence[Ciphertext], share: StrongShare, pool: ThreadPoolExecutor | None = None
) -> list[int]:
    """Return T1^s_i mod N² for every ciphertext: one of two steps to open them.

    One share alone opens nothing; `combine` needs both results for the *same* ciphertexts,
    whose public keys may differ.

    Security:
        The peer, with its own share, opens whatever it receives here. Mask and re-randomise
        before: T1'/T1 = 1 + ρN would give the mask away.

    Cost:
        One power with 2|N| bits each.
    """
    bases = [ciphertext.t1 for ciphertext in ciphertexts]
    return powers(bases, share.exponent, share.parameters.n_squared, pool)


def combine(parameters: Parameters, firsts: Sequence[int], seconds: Sequence[int]) -> list[int]:
    """Return the plaintexts in [0, N) from the partial decryptions under both shares.

    Raises:
        NotOpenableError: One pair does not belong together, or its ciphertext is malformed.
        ValueError: The lists have different lengths.
    """
    products = products_pairwise(firsts, seconds, parameters.n_squared)
    return [log_total(value, parameters.n) for value in products]


def root_partial(
    ciphertexts: Sequence[Ciphertext], share: RootShare, pool: ThreadPoolExecutor | None = None
) -> list[int]:
    """Return (T1 mod N)^k_i mod N for every ciphertext: one of two steps in the root form.

    Security:
        As `partial_decrypt`.

    Cost:
        One power with |N| bits modulo N each: about a quarter of a power modulo N² of that
        length, an eighth of `partial_decrypt`.
    """
    n = share.parameters.n
    return powers([ciphertext.t1 % n for ciphertext in ciphertexts], share.exponent, n, pool)


def root_combine(
    ciphertexts: Sequence[Ciphertext],
    firsts: Sequence[int],
    share: RootShare,
    pool: ThreadPoolExecutor | None = None,
) -> list[int]:
    """Finish an opening in the root form, with this unit's share, from the peer's step.

    U = u1 · (T1 mod N)^k2 is the inverse N-th root of T1 modulo N, so U^N takes everything
    from T1 but 1 + mN.

    Args:
        ciphertexts: Shape (n,).
        firsts: Shape (n,), what the peer's `root_partial` gave for the same ciphertexts.
        share: This unit's share.
        pool: Threads for the powers.

    Returns:
        Shape (n,), plaintexts in [0, N).

    Raises:
        NotOpenableError: A pair does not belong together, or its ciphertext is malformed.
        ValueError: The lists have different lengths.

    Cost:
        One power with |N| bits modulo N and one modulo N² each.
    """
    parameters = share.parameters
    n, modulus = parameters.n, parameters.n_squared
    roots = products_pairwise(firsts, root_partial(ciphertexts, share, pool), n)
    lifted = powers(roots, n, modulus, pool)
    opened = products_pairwise([ciphertext.t1 for ciphertext in ciphertexts], lifted, modulus)
    return [log_total(value, n) for value in opened]


def _even_representative(residue: int, odd_order: int) -> int:
    return residue if residue % 2 == 0 else residue + odd_order
