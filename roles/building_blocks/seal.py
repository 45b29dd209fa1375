"""Seal: word shares become a ciphertext under the client's key (docs/protocols.md §3.4).

SU encrypts its shares, MU adds its own and re-randomises. A slot then holds x + 2^w·(0 or 1),
and because SU's share is uniform and used nowhere else, the client's integer can be simulated
from x alone.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, PublicKey, WeakPrivateKey, add_plain
from crypto.packing import SlotLayout


def seal_secondary(
    key: PublicKey,
    layout: SlotLayout,
    shares: Sequence[int],
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> list[Ciphertext]:
    """Encrypt SU's shares under the target key (step 1, SU).

    Args:
        key: The client's.
        layout: w-bit values, stride at least w + 1, not doubled.
        shares: Shape (values,), each uniform in [0, 2^w) and used nowhere else.
        coins: Bound to the key and the shares.
        pool: Threads for the powers.

    Cost:
        Two short powers per ciphertext.
    """
    return key.encrypt_many(layout.pack(shares), coins, pool)


def seal_master(
    key: PublicKey,
    layout: SlotLayout,
    sealed: Sequence[Ciphertext],
    shares: Sequence[int],
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> list[Ciphertext]:
    """Add MU's shares and re-randomise (step 2, MU).

    Without a fresh encryption of zero the published ciphertext divided by SU's reply would be
    1 + x_M·N, and MU's share would be public.

    Cost:
        Two short powers per ciphertext.
    """
    parameters = key.parameters
    zeros = key.encrypt_many([0] * len(sealed), coins, pool)
    return [
        Ciphertext(
            added.t1 * zero.t1 % parameters.n_squared,
            added.t2 * zero.t2 % parameters.n_squared,
        )
        for added, zero in zip(
            (add_plain(parameters, c, m) for c, m in zip(sealed, layout.pack(shares), strict=True)),
            zeros,
            strict=True,
        )
    ]


def unseal(key: WeakPrivateKey, layout: SlotLayout, sealed: Sequence[Ciphertext]) -> list[int]:
    """Open a sealed vector as the owner of the key: the slots read mod 2^w (client)."""
    mask = (1 << layout.value_bits) - 1
    return [slot & mask for slot in layout.unpack([key.decrypt(c) for c in sealed])]
