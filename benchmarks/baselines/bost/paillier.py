"""Paillier's cryptosystem, decryption by the Chinese remainder theorem.

Source:
    Paillier, EUROCRYPT 1999.
"""

from dataclasses import dataclass, field

from benchmarks.baselines.bost.primes import prime
from benchmarks.baselines.transcript import Transcript
from crypto.arithmetic import inverse, power, product
from crypto.coins import Coins


@dataclass(frozen=True, slots=True)
class Paillier:
    """A key pair; `decrypt` is for its owner.

    Attributes:
        p: A factor of N.
        q: The other.
        coins: For encryption.
        transcript: What is done.
    """

    p: int = field(repr=False)
    q: int = field(repr=False)
    coins: Coins = field(repr=False)
    transcript: Transcript
    n: int = field(init=False)
    n_squared: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", self.p * self.q)
        object.__setattr__(self, "n_squared", self.n**2)

    @classmethod
    def generate(cls, modulus_bits: int, coins: Coins, transcript: Transcript) -> "Paillier":
        """Make a key pair."""
        p = q = prime(modulus_bits // 2, coins)
        while q == p:
            q = prime(modulus_bits // 2, coins)
        return cls(p, q, coins, transcript)

    @property
    def ciphertext_bytes(self) -> int:
        """The wire size of a ciphertext."""
        return (self.n_squared.bit_length() + 7) // 8

    def encrypt(self, plaintext: int) -> int:
        """Return (1 + mN) r^N mod N²: one power with |N| bits."""
        self.transcript.did("Paillier.Enc")
        mask = power(self.coins.unit_below(self.n), self.n, self.n_squared)
        return (1 + plaintext % self.n * self.n) * mask % self.n_squared

    def decrypt(self, ciphertext: int) -> int:
        """Return the plaintext in [0, N): two powers of half the length, modulo p² and q²."""
        self.transcript.did("Paillier.Dec")
        m_p, m_q = (self._residue(ciphertext, prime, self.n // prime) for prime in (self.p, self.q))
        return (m_p + self.p * ((m_q - m_p) * inverse(self.p, self.q) % self.q)) % self.n

    @staticmethod
    def _residue(ciphertext: int, prime: int, other: int) -> int:
        # c^(p−1) = 1 + (p − 1) m N mod p², of which p takes the logarithm.
        raised = power(ciphertext % (prime * prime), prime - 1, prime * prime)
        return (raised - 1) // prime * inverse((prime - 1) * other, prime) % prime

    def refresh(self, ciphertext: int) -> int:
        """Return another ciphertext of the same plaintext: as dear as an encryption."""
        return self.add(ciphertext, self.encrypt(0))

    def add(self, *ciphertexts: int) -> int:
        """Return the sum."""
        return product(ciphertexts, self.n_squared)

    def times(self, ciphertext: int, factor: int) -> int:
        """Return the plaintext times a number: a power as long as the number."""
        self.transcript.did("Paillier.Exp")
        raised = power(ciphertext, abs(factor), self.n_squared)
        return raised if factor >= 0 else inverse(raised, self.n_squared)

    def negate(self, ciphertext: int) -> int:
        """Return the negated plaintext: an inversion."""
        return inverse(ciphertext, self.n_squared)
