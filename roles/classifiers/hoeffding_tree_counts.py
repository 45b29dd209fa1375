"""How an attempt begins: counts of the leaves that are due become shares, then their squares do.

What both kinds of attempt have in common, unit by unit (docs/protocols.md §7.3): those whose outcome shows
(`roles.classifiers.hoeffding_tree_split`), and padded ones (`roles.classifiers.hoeffding_tree_padded_split`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from crypto.dtpkc import encode_ciphertexts
from crypto.ot_extension import ReceiverRows
from roles.building_blocks.opening import mask_vector, open_masked
from roles.building_blocks.square_sums import SquareSums, receive_squares, send_squares
from roles.building_blocks.transfers import chosen_rows
from roles.building_blocks.vectors import decode_t2s, encode_t2s
from roles.classifiers.hoeffding_tree_attempt import AttemptShape
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.plan import Sections
from roles.session import Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


def mask_counts(
    session: Session,
    secrets: UnitSecrets,
    shape: AttemptShape,
    state: TreeState,
    pool: ThreadPoolExecutor | None,
) -> tuple[Bits, Sections]:
    """Return the digits of MU's masks and the masked counts (step 1, MU)."""
    parameters = session.tenant.parameters
    vectors = [c for leaf in shape.due for c in state.statistics[leaf]]
    coins = session.coins("mask", encode_ciphertexts(parameters, [*vectors, *state.totals]))
    per_leaf = shape.statistics.ciphertexts
    opened = [
        mask_vector(
            parameters,
            shape.statistics,
            vectors[k * per_leaf : (k + 1) * per_leaf],
            secrets.theta,
            coins,
            pool,
        )
        for k in range(len(shape.due))
    ]
    nodes = mask_vector(parameters, shape.sums.layout, state.totals, secrets.theta, coins, pool)
    digits = shape.digits(np.concatenate([part.digits for part in opened]), nodes.digits)
    sections = (
        b"".join(part.masked for part in opened),
        encode_t2s(parameters, vectors),
        nodes.masked,
        encode_t2s(parameters, state.totals),
    )
    return digits, sections


def open_counts(
    session: Session,
    secrets: UnitSecrets,
    shape: AttemptShape,
    sections: Sequence[bytes],
    pool: ThreadPoolExecutor | None,
) -> Bits:
    """Return the digits of the masked counts (step 1, SU)."""
    parameters = session.tenant.parameters
    statistics, t2s, totals, totals_t2s = sections
    size = len(statistics) // len(shape.due)
    opened = [
        open_masked(
            parameters,
            shape.statistics,
            statistics[k * size : (k + 1) * size],
            decode_t2s(parameters, t2s[k * size : (k + 1) * size]),
            secrets.theta,
            pool,
        )
        for k in range(len(shape.due))
    ]
    nodes = open_masked(
        parameters, shape.sums.layout, totals, decode_t2s(parameters, totals_t2s), secrets.theta, pool
    )
    return shape.digits(np.concatenate(opened), nodes)


def squares_master(
    session: Session, secrets: UnitSecrets, shape: AttemptShape, counts: Words, transfer: Sequence[bytes]
) -> tuple[SquareSums | None, Sections]:
    """Return MU's shares of the squares, and what SU needs for its own; nothing by entropy (step 2, MU).

    Args:
        session: Of the attempt.
        secrets: MU's.
        shape: Of the attempt.
        counts: Shape (d, F + 1, C): MU's shares.
        transfer: SU's choices.
    """
    if shape.by_entropy:
        return None, ()
    stock = chosen_rows(secrets, transfer, shape.squares.choices)
    rows = stock.take(shape.squares.test_rows), stock.take(shape.squares.class_rows)
    own_salt = session.salt("squares", array_bytes(counts))
    squares, sums = send_squares(rows, counts, session.request_hash("squares", own_salt))
    return squares, (own_salt, *sums)


def squares_secondary(
    session: Session, shape: AttemptShape, counts: Words, own_rows: ReceiverRows, sections: Sequence[bytes]
) -> SquareSums:
    """Return SU's shares of the squares (step 2, SU)."""
    peer_salt, by_test, by_class = sections
    rows = own_rows.take(shape.squares.test_rows), own_rows.take(shape.squares.class_rows)
    return receive_squares(rows, (by_test, by_class), counts, session.request_hash("squares", peer_salt))
