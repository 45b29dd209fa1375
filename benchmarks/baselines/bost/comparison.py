"""Comparisons between a party A and a party B that holds the keys: of plain numbers, and of encrypted ones.

Plain ones bit by bit on quadratic residues (Veugen's lightweight comparison, one of those that the paper's
library has; with its garbled circuits the rounds would not grow with the width). Encrypted ones by
masking the difference under Paillier and comparing what is left of mask and masked number.

Source:
    Bost et al. 2015, section IV, protocols 2 to 4; Veugen, "Comparing encrypted data", 2011.
"""

from dataclasses import dataclass, field

from benchmarks.baselines.bost.paillier import Paillier
from benchmarks.baselines.bost.quadratic_residues import QuadraticResidues
from benchmarks.baselines.transcript import Transcript
from crypto.coins import Coins

MASK_BITS = 100
"""λ of the paper: the mask is so much longer than what it hides."""


@dataclass(frozen=True, slots=True)
class Parties:
    """A, who holds ciphertexts, and B, who holds the keys; they meet in one process.

    Attributes:
        a: A's name in the transcript.
        b: B's.
        paillier: B's key pair.
        residues: B's other key pair.
        coins: Of both.
        transcript: What they do and send.
    """

    a: str
    b: str
    paillier: Paillier
    residues: QuadraticResidues
    coins: Coins = field(repr=False)
    transcript: Transcript

    @classmethod
    def generate(cls, modulus_bits: int, coins: Coins, a: str = "client", b: str = "server") -> "Parties":
        """Make B's keys."""
        transcript = Transcript()
        paillier = Paillier.generate(modulus_bits, coins, transcript)
        residues = QuadraticResidues.generate(modulus_bits, coins, transcript)
        return cls(a, b, paillier, residues, coins, transcript)

    def send_paillier(self, sender: str, number: int) -> None:
        """Count that many Paillier ciphertexts."""
        self.transcript.send(sender, number * self.paillier.ciphertext_bytes)

    def send_residues(self, sender: str, number: int) -> None:
        """Count that many ciphertexts of bits."""
        self.transcript.send(sender, number * self.residues.ciphertext_bytes)


def less_than_plain(parties: Parties, width: int, b_number: int, a_number: int) -> int:
    """Return A's ciphertext of [B's number < A's number].

    Cost:
        3·width − 2 ciphertexts of bits in width − 1 round trips and a message before them.
    """
    residues = parties.residues
    bits = [residues.encrypt(b_number >> place & 1) for place in range(width)]
    parties.send_residues(parties.b, width)
    # t = [b < a] so far: b's bit decides where the two differ.
    smaller = residues.encrypt(0)
    for place, bit in enumerate(bits):
        a_bit = a_number >> place & 1
        if place == 0:
            both = smaller
        else:
            hidden = parties.coins.integer_bits(1)
            asked = residues.xor(smaller, residues.encrypt(hidden))
            parties.send_residues(parties.a, 1)
            # B knows its own bit: the product with it is what A gave, or zero.
            answer = residues.encrypt(residues.decrypt(asked) & b_number >> place & 1)
            parties.send_residues(parties.b, 1)
            both = residues.xor(answer, bit) if hidden else answer
        # t' = t·b̄ where a = 0, t ∨ b̄ where a = 1; both = t·b
        smaller = residues.xor_plain(residues.xor(both, bit), 1) if a_bit else residues.xor(smaller, both)
    return smaller


def at_most_encrypted(parties: Parties, width: int, x: int, y: int) -> int:
    """Return A's ciphertext of the bit [x ≤ y] for Paillier ciphertexts of x and y below 2^width.

    Cost:
        An encryption and a decryption under Paillier, a comparison of plain numbers, and one more bit.
    """
    paillier, residues, mask = parties.paillier, parties.residues, 1 << width
    parties_mask = parties.coins.integer_bits(width + MASK_BITS)
    # z = 2^width + y − x + mask: bit `width` of the first part is the answer.
    masked = paillier.add(y, paillier.negate(x), paillier.encrypt(mask + parties_mask))
    parties.send_paillier(parties.a, 1)
    opened = paillier.decrypt(masked)
    borrow = less_than_plain(parties, width, opened % mask, parties_mask % mask)
    parties.send_residues(parties.b, 1)
    top = residues.encrypt(opened >> width & 1)
    return residues.xor_plain(residues.xor(borrow, top), parties_mask >> width & 1)


def at_most_opened(parties: Parties, width: int, x: int, y: int) -> bool:
    """Return to B whether x ≤ y for Paillier ciphertexts that A holds."""
    found = at_most_encrypted(parties, width, x, y)
    parties.send_residues(parties.a, 1)
    refreshed = parties.residues.xor(found, parties.residues.encrypt(0))
    return bool(parties.residues.decrypt(refreshed))
