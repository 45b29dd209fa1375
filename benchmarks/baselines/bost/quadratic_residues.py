"""The cryptosystem of quadratic residues: one bit a ciphertext, and exclusive-or by multiplication.

Source:
    Goldwasser, Micali, STOC 1982. N is a Blum integer, so that −1 is the non-residue.
"""

from dataclasses import dataclass, field

from benchmarks.baselines.bost.primes import prime
from benchmarks.baselines.transcript import Transcript
from crypto.arithmetic import jacobi
from crypto.coins import Coins


@dataclass(frozen=True, slots=True)
class QuadraticResidues:
    """A key pair; `decrypt` is for its owner.

    Attributes:
        p: A factor of N, 3 mod 4.
        q: The other.
        coins: For encryption.
        transcript: What is done.
    """

    p: int = field(repr=False)
    q: int = field(repr=False)
    coins: Coins = field(repr=False)
    transcript: Transcript
    n: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", self.p * self.q)

    @classmethod
    def generate(cls, modulus_bits: int, coins: Coins, transcript: Transcript) -> "QuadraticResidues":
        """Make a key pair."""
        p, q = (prime(modulus_bits // 2, coins) for _ in range(2))
        return cls(p, q, coins, transcript)

    @property
    def ciphertext_bytes(self) -> int:
        """The wire size of a ciphertext."""
        return (self.n.bit_length() + 7) // 8

    def encrypt(self, bit: int) -> int:
        """Return (−1)^b r² mod N: a squaring, no power."""
        self.transcript.did("QR.Enc")
        square = self.coins.unit_below(self.n) ** 2 % self.n
        return self.n - square if bit else square

    def decrypt(self, ciphertext: int) -> int:
        """Return the bit: whether the Legendre symbol modulo p is −1."""
        self.transcript.did("QR.Dec")
        return int(jacobi(ciphertext, self.p) == -1)

    def xor(self, *ciphertexts: int) -> int:
        """Return the exclusive-or of the bits."""
        found = 1
        for ciphertext in ciphertexts:
            found = found * ciphertext % self.n
        return found

    def xor_plain(self, ciphertext: int, bit: int) -> int:
        """Return the exclusive-or with a known bit; nothing is refreshed."""
        return self.n - ciphertext if bit else ciphertext
