"""DT-PKC: additively homomorphic encryption under many keys that share one modulus.

A ciphertext of m under h = g^θ is (T1, T2) = (h^r (1 + mN), g^r) mod N². Whoever knows θ opens
it; the strong key, which opens every h, is in `crypto.strong_key`, and the two-unit opening
under the joint key in `crypto.service_key`.

Unlike the paper, g = a^{2N} and not −a^{2N}, weak keys are even and L is total: with the
paper's sign half of all ciphertexts under an odd θ decrypt wrongly.

Source:
    Liu, Deng, Choo, Weng 2016 (DT-PKC); docs/protocols.md §1.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

from crypto.arithmetic import inverses, powers, products_pairwise
from crypto.coins import Coins
from crypto.errors import (
    InvalidCiphertextError,
    InvalidKeyError,
    KeyMismatchError,
    NotOpenableError,
    PlaintextRangeError,
)
from crypto.homomorphism import add, add_plain, negate, scale, total
from crypto.parameters import Ciphertext, Parameters, decode_ciphertexts, encode_ciphertexts

__all__ = [
    "Ciphertext",
    "Parameters",
    "PublicKey",
    "WeakPrivateKey",
    "add",
    "add_plain",
    "decode_ciphertexts",
    "draw_exponent",
    "encode_ciphertexts",
    "log_total",
    "negate",
    "scale",
    "signed",
    "strip_key",
    "total",
]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key h = g^θ, with which anyone encrypts.

    Raises:
        InvalidKeyError: h is out of range or ±1 mod N.
    """

    parameters: Parameters
    h: int

    def __post_init__(self) -> None:
        n = self.parameters.n
        if not 1 < self.h < self.parameters.n_squared or self.h % n in {0, 1, n - 1}:
            raise InvalidKeyError("the public key is out of range or trivial")

    def prepare(self, window_bits: int = 8, exponent_bits: int | None = None) -> None:
        """Keep tables of g and h in this process: encryptions become about eight times cheaper.

        Cost:
            About 0.1 s and 6 MB a base at |N| = 3072, window 8 and 256-bit exponents; 0.8 MB
            at window 4. The table of g is shared by all keys.
        """
        self.parameters.prepare(self.parameters.g, window_bits, exponent_bits)
        self.parameters.prepare(self.h, window_bits, exponent_bits)

    def encrypt(self, plaintext: int, coins: Coins) -> Ciphertext:
        """Encrypt an integer in (−N/2, N).

        Raises:
            PlaintextRangeError: The plaintext is outside.

        Cost:
            Two powers with exponents of the profile's length, by table if prepared.
        """
        return self.encrypt_with(plaintext, draw_exponent(self.parameters, coins))

    def encrypt_with(self, plaintext: int, randomness: int) -> Ciphertext:
        """Encrypt under a given r, which a prover of plaintext knowledge must know.

        Raises:
            PlaintextRangeError: The plaintext is outside (−N/2, N).
            ValueError: r is outside (0, 2^exponent_bits).

        Security:
            An r that is used twice, or known to anyone else, gives the plaintext away.
        """
        return self.encrypt_many_with([plaintext], [randomness])[0]

    def encrypt_many(
        self, plaintexts: Sequence[int], coins: Coins, pool: ThreadPoolExecutor | None = None
    ) -> list[Ciphertext]:
        """Encrypt every plaintext; all randomness is drawn in order before any power.

        Raises:
            PlaintextRangeError: A plaintext is outside (−N/2, N); nothing is encrypted then.
        """
        randomness = [draw_exponent(self.parameters, coins) for _ in plaintexts]
        return self.encrypt_many_with(plaintexts, randomness, pool)

    def encrypt_many_with(
        self, plaintexts: Sequence[int], randomness: Sequence[int], pool: ThreadPoolExecutor | None = None
    ) -> list[Ciphertext]:
        """Encrypt every plaintext under its own given r; see `encrypt_with`."""
        parameters = self.parameters
        n = parameters.n
        if not all(-n < 2 * plaintext and plaintext < n for plaintext in plaintexts):
            raise PlaintextRangeError("a plaintext lies outside (−N/2, N)")
        if not all(r > 0 and r.bit_length() <= parameters.profile.exponent_bits for r in randomness):
            raise ValueError("the randomness of an encryption lies outside (0, 2^exponent_bits)")
        # (1 + N)^m = 1 + mN mod N²
        messages = [1 + plaintext % n * n for plaintext in plaintexts]
        t1s = products_pairwise(
            parameters.powers_of(self.h, randomness, pool), messages, parameters.n_squared
        )
        t2s = parameters.powers_of(parameters.g, randomness, pool)
        return [Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True)]

    def refresh(self, ciphertext: Ciphertext, coins: Coins) -> Ciphertext:
        """Return another ciphertext of the same plaintext, unlinkable without a key."""
        return add(self.parameters, ciphertext, self.encrypt(0, coins))


@dataclass(frozen=True, slots=True)
class WeakPrivateKey:
    """The exponent θ of one public key: opens what was encrypted under that key.

    `generate_weak_key` makes even ones only. An odd θ is accepted, because arithmetic can be
    tested with it, but must not meet foreign ciphertexts: −T2 opens to the negated L then.

    Raises:
        InvalidKeyError: θ is out of the profile's range.
        KeyMismatchError: h is not g^θ.

    Security:
        Secret: hidden from repr, refuses pickling.
    """

    public: PublicKey
    theta: int = field(repr=False)

    def __post_init__(self) -> None:
        parameters = self.public.parameters
        if self.theta <= 0 or self.theta.bit_length() > parameters.profile.exponent_bits:
            raise InvalidKeyError("the private key is out of range")
        if parameters.power(parameters.g, self.theta) != self.public.h:
            raise KeyMismatchError("the private key does not belong to the public key")

    def __reduce__(self) -> NoReturn:
        raise TypeError("private keys are not pickled")

    @classmethod
    def from_theta(cls, parameters: Parameters, theta: int) -> "WeakPrivateKey":
        """Return the key pair of a given θ.

        Raises:
            InvalidKeyError: θ is out of range, or its h is ±1 mod N.
        """
        return cls(PublicKey(parameters, parameters.power(parameters.g, theta)), theta)

    def decrypt(self, ciphertext: Ciphertext) -> int:
        """Return the plaintext in [0, N); `signed` maps it to (−N/2, N/2).

        Raises:
            InvalidCiphertextError: T2 is not invertible.
            NotOpenableError: Not an encryption under this key.
        """
        return self.decrypt_many([ciphertext])[0]

    def decrypt_many(
        self, ciphertexts: Sequence[Ciphertext], pool: ThreadPoolExecutor | None = None
    ) -> list[int]:
        """Return every plaintext in [0, N), in order.

        Raises:
            InvalidCiphertextError: A T2 is not invertible.
            NotOpenableError: One of them is not an encryption under this key.

        Cost:
            One power with |θ| bits each, and one inversion.
        """
        parameters = self.public.parameters
        opened = strip_key(parameters, ciphertexts, self.theta, pool)
        return [log_total(value, parameters.n) for value in opened]


def strip_key(
    parameters: Parameters,
    ciphertexts: Sequence[Ciphertext],
    theta: int,
    pool: ThreadPoolExecutor | None = None,
) -> list[int]:
    """Return T1 · T2^−θ mod N² for every ciphertext: the powers in a batch, then one inversion.

    Raises:
        InvalidCiphertextError: A T2 is not invertible mod N.
    """
    modulus = parameters.n_squared
    raised = powers([ciphertext.t2 for ciphertext in ciphertexts], theta, modulus, pool)
    try:
        inverted = inverses(raised, modulus)
    except ValueError:
        raise InvalidCiphertextError("a T2 is not coprime to N") from None
    return products_pairwise([ciphertext.t1 for ciphertext in ciphertexts], inverted, modulus)


def log_total(u: int, n: int) -> int:
    """Return L(u): the x in [0, N) with u = ±(1 + xN) mod N².

    Args:
        u: In [0, N²).
        n: N.

    Raises:
        NotOpenableError: u is neither 1 nor −1 mod N.

    Security:
        Total on purpose. A floor division instead returns numbers that depend on the key for
        whatever a hostile sender writes, and a sender may always negate a component: −1 has
        Jacobi symbol +1.

    Source:
        docs/protocols.md §1.
    """
    quotient, remainder = divmod(u, n)
    if remainder == 1:
        return quotient
    if remainder == n - 1:
        # −u = N² − u = 1 + (N − 1 − quotient)N
        return n - 1 - quotient
    raise NotOpenableError("the argument of L is neither 1 nor −1 mod N")


def signed(plaintext: int, n: int) -> int:
    """Return the representative of a residue mod N in (−N/2, N/2); N is odd."""
    residue = plaintext % n
    return residue - n if 2 * residue > n else residue


def draw_exponent(parameters: Parameters, coins: Coins) -> int:
    """Return an exponent uniform in [1, 2^exponent_bits)."""
    while True:
        exponent = coins.integer_bits(parameters.profile.exponent_bits)
        if exponent:
            return exponent
