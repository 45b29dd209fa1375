"""Stand-ins that only tests may use."""

import hashlib

from crypto.coins import Coins


def seeded_coins(seed: int | str) -> Coins:
    """Return coins that are the same in every run; production code draws from the OS."""
    return Coins.from_seed(hashlib.sha256(f"test {seed}".encode()).digest(), ("test", str(seed)))
