"""Two servers that hold strong shares, and what either can do: the setting of the published toolkit.

As published: θ and r are nearly as long as N, nothing is precomputed, and the shares are those of an s
with s = 0 mod λ and s = 1 mod N², so that a share has 3|N| bits. (N instead of N² would do.) The
servers are called by the paper's names, CP and CSP. The generator is ours, see `crypto.dtpkc`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.baselines.transcript import Transcript
from crypto.arithmetic import inverse
from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey
from crypto.homomorphism import add, scale, total
from crypto.key_generation import generate_weak_key
from crypto.parameters import Ciphertext, Parameters
from crypto.profiles import Profile
from crypto.strong_key import StrongPrivateKey, StrongShare, combine, partial_decrypt

CP, CSP = "cp", "csp"


def published_profile(modulus_bits: int) -> Profile:
    """Return the sizes as published: θ and r below N/4."""
    return Profile(f"published-{modulus_bits}", modulus_bits, modulus_bits - 2, insecure=True)


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, who meet in one process.

    Attributes:
        key: The joint key, of which nobody needs the private half.
        shares: The strong key's, CP's first.
        coins: Of both.
        transcript: What they do and send.
    """

    key: WeakPrivateKey
    shares: tuple[StrongShare, StrongShare] = field(repr=False)
    coins: Coins = field(repr=False)
    transcript: Transcript

    @classmethod
    def deal(cls, n: int, g: int, strong: StrongPrivateKey, coins: Coins) -> "Servers":
        """Deal keys of published sizes under a modulus that is there already."""
        parameters = Parameters(published_profile(n.bit_length()), n, g)
        modulus = strong.carmichael * n * n
        secret = strong.carmichael * inverse(strong.carmichael, n * n)
        first = coins.below(modulus)
        shares = (
            StrongShare(parameters, first),
            StrongShare(parameters, (secret - first) % modulus),
        )
        return cls(generate_weak_key(parameters, coins), shares, coins, Transcript())

    @property
    def parameters(self) -> Parameters:
        """N and g."""
        return self.key.public.parameters

    def encrypt(self, plaintext: int) -> Ciphertext:
        """Enc: two powers with |N| bits."""
        self.transcript.did("Enc")
        return self.key.public.encrypt(plaintext, self.coins)

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """Return the sum; products alone, which nobody counts."""
        return total(self.parameters, ciphertexts)

    def times(self, ciphertext: Ciphertext, factor: int) -> Ciphertext:
        """Return the plaintext times a number mod N: two powers as long as the number."""
        self.transcript.did("Exp")
        return scale(self.parameters, ciphertext, factor % self.parameters.n)

    def negate(self, ciphertext: Ciphertext) -> Ciphertext:
        """Return the negated plaintext as the papers write it, by the power N − 1."""
        return self.times(ciphertext, -1)

    def subtract(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """Return the difference."""
        return add(self.parameters, a, self.negate(b))

    def half_open(self, ciphertexts: Sequence[Ciphertext]) -> list[int]:
        """CP: PSDec1 of every ciphertext, sent with the ciphertexts to CSP."""
        self.transcript.did("PSDec1", len(ciphertexts))
        size = self.parameters.ciphertext_bytes + self.parameters.component_bytes
        self.transcript.send(CP, size * len(ciphertexts))
        return partial_decrypt(ciphertexts, self.shares[0])

    def open(self, ciphertexts: Sequence[Ciphertext], halves: Sequence[int]) -> list[int]:
        """CSP: PSDec2 of every ciphertext."""
        self.transcript.did("PSDec2", len(ciphertexts))
        seconds = partial_decrypt(ciphertexts, self.shares[1])
        return combine(self.parameters, list(halves), seconds)

    def reply(self, plaintexts: Sequence[int]) -> list[Ciphertext]:
        """CSP: encrypt the results and send them to CP."""
        self.transcript.send(CSP, self.parameters.ciphertext_bytes * len(plaintexts))
        return [self.encrypt(plaintext % self.parameters.n) for plaintext in plaintexts]
