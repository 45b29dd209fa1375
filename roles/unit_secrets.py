"""What a unit keeps secret for a key epoch, as the roles use it."""

from dataclasses import dataclass, field
from typing import NoReturn

from crypto.ot_extension import ReceiverBase, SenderBase
from crypto.strong_key import RootShare


@dataclass(frozen=True, slots=True)
class UnitSecrets:
    """A unit's share of the service key, its coin seed and its halves of the base transfers.

    Attributes:
        role: ``mu`` or ``su``.
        theta: θ_M or θ_S.
        seed: Epoch seed of all its coins, 32 bytes from the operating system.
        receiver: Its base for transfers in which it chooses.
        sender: Its base for transfers in which the peer chooses; SU's Δ also offsets labels.
        strong_share: Its share of the strong key, where owners have keys of their own.
    """

    role: str
    theta: int = field(repr=False)
    seed: bytes = field(repr=False)
    receiver: ReceiverBase = field(repr=False)
    sender: SenderBase = field(repr=False)
    strong_share: RootShare | None = field(default=None, repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("unit secrets are not pickled")
