"""Profiles: the sizes that fix everything else on the wire and in a proof."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MASK_BITS = 80
"""Statistical distance of an opened value from uniform, in bits (docs/protocols.md §3.1)."""

SECURITY_BITS = 128
"""Width of oblivious transfer, of labels and of proof challenges."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The sizes of one modulus and its exponents.

    Attributes:
        name: What configurations call it.
        modulus_bits: |N|, exactly.
        exponent_bits: Bound on |θ| and |r|. Short ones rest on the short-exponent
            discrete-logarithm assumption.
        insecure: Only for tests and comparisons; units refuse it unless told otherwise.

    Source:
        docs/protocols.md §1, "Profiles".
    """

    name: str
    modulus_bits: int
    exponent_bits: int
    insecure: bool

    def __post_init__(self) -> None:
        if self.modulus_bits < 16 or self.modulus_bits % 2:
            raise ValueError("modulus_bits must be even and at least 16")
        if not 2 <= self.exponent_bits < self.modulus_bits:
            raise ValueError("exponent_bits must lie between 2 and modulus_bits")

    @property
    def prime_bits(self) -> int:
        """The length of p and of q."""
        return self.modulus_bits // 2

    @property
    def component_bytes(self) -> int:
        """The wire size of one residue mod N²."""
        return (2 * self.modulus_bits + 7) // 8

    @property
    def ciphertext_bytes(self) -> int:
        """The wire size of a ciphertext, two residues mod N²."""
        return 2 * self.component_bytes

    @property
    def plaintext_bytes(self) -> int:
        """The wire size of a residue mod N."""
        return (self.modulus_bits + 7) // 8


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Profile("toy", 512, 160, insecure=True),
            Profile("paper", 1024, 160, insecure=True),
            Profile("legacy", 2048, 224, insecure=False),
            Profile("standard", 3072, 256, insecure=False),
            Profile("conservative", 3072, 1536, insecure=False),
            Profile("large", 4096, 256, insecure=False),
        )
    }
)

DEFAULT_PROFILE = "standard"


def profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        ValueError: There is none; the message lists the names.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}") from None
