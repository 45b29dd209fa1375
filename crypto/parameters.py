"""What all keys of a deployment share, and the ciphertexts under them with their wire form.

Source:
    docs/protocols.md §1.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from crypto.arithmetic import FixedBase, power, powers_of_base
from crypto.errors import InvalidCiphertextError, InvalidKeyError
from crypto.profiles import Profile

# A table is 1 to 12 MB; the oldest goes first when a process prepares keys without end.
MAX_TABLES = 64

_tables: dict[tuple[int, int], FixedBase] = {}
_tables_lock = Lock()


@dataclass(frozen=True, slots=True)
class Parameters:
    """The modulus N and the generator g that all keys of a deployment share.

    Attributes:
        profile: The sizes.
        n: N = pq.
        g: Generator of the 2N-th residues mod N².
        n_squared: N².

    Raises:
        InvalidKeyError: N has another size than the profile says, or g is out of range. What
            comes from outside needs `crypto.validation.validate_parameters` as well.
    """

    profile: Profile
    n: int
    g: int
    n_squared: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_squared", self.n * self.n)
        if self.n < 0 or self.n.bit_length() != self.profile.modulus_bits or self.n % 2 == 0:
            raise InvalidKeyError(f"the modulus is not an odd number of {self.profile.modulus_bits} bits")
        if not 1 < self.g < self.n_squared:
            raise InvalidKeyError("the generator is out of range")

    @property
    def component_bytes(self) -> int:
        """The wire size of T1 or T2."""
        return self.profile.component_bytes

    @property
    def ciphertext_bytes(self) -> int:
        """The wire size of a ciphertext."""
        return self.profile.ciphertext_bytes

    def power(self, base: int, exponent: int) -> int:
        """Return base^exponent mod N², by the table of `base` if one was prepared and is wide enough."""
        table = _tables.get((self.n, base))
        if table is not None and exponent.bit_length() <= table.exponent_bits:
            return table.power(exponent)
        return power(base, exponent, self.n_squared)

    def powers_of(
        self, base: int, exponents: Sequence[int], pool: ThreadPoolExecutor | None = None
    ) -> list[int]:
        """Return base^e mod N² for every exponent, by table or in the threads of `pool`."""
        table = _tables.get((self.n, base))
        longest = max((exponent.bit_length() for exponent in exponents), default=0)
        if table is not None and longest <= table.exponent_bits:
            return table.powers(exponents)
        return powers_of_base(base, exponents, self.n_squared, pool)

    def prepare(self, base: int, window_bits: int = 8, exponent_bits: int | None = None) -> None:
        """Keep a table of powers of `base` in this process, unless one as good is kept already.

        Args:
            base: g or a public key's h.
            window_bits: 8 for keys that are used all the time, 4 where memory counts.
            exponent_bits: Longest exponent, the profile's if None; provers need more.
        """
        wanted = exponent_bits or self.profile.exponent_bits
        with _tables_lock:
            kept = _tables.get((self.n, base))
            if kept is not None:
                if kept.window_bits >= window_bits and kept.exponent_bits >= wanted:
                    return
                window_bits = max(window_bits, kept.window_bits)
                wanted = max(wanted, kept.exponent_bits)
                del _tables[(self.n, base)]
            elif len(_tables) >= MAX_TABLES:
                del _tables[next(iter(_tables))]
            _tables[(self.n, base)] = FixedBase(base, self.n_squared, wanted, window_bits)


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """T1 = h^r (1 + mN) and T2 = g^r mod N²."""

    t1: int
    t2: int


def encode_ciphertexts(parameters: Parameters, ciphertexts: Sequence[Ciphertext]) -> bytes:
    """Return T1 ‖ T2 of every ciphertext, big-endian, each of the width of N².

    Raises:
        InvalidCiphertextError: A component does not lie in (0, N²).
    """
    width = parameters.component_bytes
    parts: list[bytes] = []
    for index, ciphertext in enumerate(ciphertexts):
        for component in (ciphertext.t1, ciphertext.t2):
            if not 0 < component < parameters.n_squared:
                raise InvalidCiphertextError(f"ciphertext {index}: a component is out of range")
            parts.append(component.to_bytes(width, "big"))
    return b"".join(parts)


def decode_ciphertexts(parameters: Parameters, data: bytes) -> list[Ciphertext]:
    """Return the ciphertexts of an encoding; the range check is `validate_ciphertexts`'.

    Raises:
        InvalidCiphertextError: The length is not a multiple of a ciphertext's.
    """
    size, width = parameters.ciphertext_bytes, parameters.component_bytes
    if len(data) % size:
        raise InvalidCiphertextError(f"{len(data)} bytes are not a multiple of {size}")
    return [
        Ciphertext(
            int.from_bytes(data[low : low + width], "big"),
            int.from_bytes(data[low + width : low + size], "big"),
        )
        for low in range(0, len(data), size)
    ]
