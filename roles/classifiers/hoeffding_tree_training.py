"""Priv-DT, train: the chunks of one window are routed and counted, and the counts are sealed.

Four round trips per chunk, and one more for every further block of records (docs/protocols.md §7):

1. *open*: the records' bits become XOR shares, and once per window the nodes' tests;
2. *test*: S·z mod 2 says which tests each record passes; bits become word shares (B2A);
3. *route*: a garbled circuit finds what each record counts for: a leaf and a class, or nothing;
4. *count*: indicators times test columns, summed over records, in blocks below 4 MiB. With the
   last reply SU seals its share of the window's counts.

Each unit's half is one generator per round trip, strung together at the end of the file.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from crypto.dtpkc import Ciphertext, decode_ciphertexts, encode_ciphertexts
from crypto.errors import RemoteProtocolError
from crypto.ot_extension import ReceivedRows, ReceiverRows, SenderRows, SentRows
from roles.building_blocks.bit_matrices import own_product, receive_columns, send_columns
from roles.building_blocks.counting_products import (
    receive_counts,
    send_counts,
    words_of_shared_bits_receiver,
    words_of_shared_bits_sender,
)
from roles.building_blocks.garble_shares import evaluate_to_shares, garble_to_shares
from roles.building_blocks.opening import (
    bit_choices,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import choose, chosen_rows
from roles.building_blocks.vectors import ZERO, decode_t2s, encode_t2s, multiply_in
from roles.classifiers.hoeffding_tree_halves import (
    RecordShares,
    TestShares,
    Trip,
    WindowHalf,
    block_inputs,
    counted_columns,
    indicators_of,
    route_inputs,
    split_records,
    window_half,
)
from roles.classifiers.hoeffding_tree_shape import TreeState
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.plan import Sections
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
# --- 1: open


def _open_master(
    half: WindowHalf, chunk: int, ciphertexts: Sequence[Ciphertext], tests: Sequence[Ciphertext]
) -> Trip[RecordShares]:
    session, secrets, shape = half.session, half.secrets, half.shape
    parameters = session.tenant.parameters
    layout = shape.model.records_layout(shape.sizes[chunk])
    coins = session.coins("mask", encode_ciphertexts(parameters, ciphertexts))
    opened = mask_vector(parameters, layout, ciphertexts, secrets.theta, coins, half.pool)
    digits = opened.digits
    sections: Sections = (opened.masked, encode_t2s(parameters, ciphertexts))
    if half.opens_tests(chunk):
        coins = session.coins("mask tests", encode_ciphertexts(parameters, tests))
        nodes = mask_vector(parameters, shape.tests, tests, secrets.theta, coins, half.pool)
        digits = np.concatenate([digits, nodes.digits[:, :2]])
        sections += (nodes.masked, encode_t2s(parameters, tests))
    carries = choose(session, secrets, "carries", bit_choices(digits), b"".join(sections))
    salt, corrections, *transfer = yield (*sections, *carries.sections)
    rows = carries.rows.take(len(digits))
    bits = share_bits_master(digits, rows, corrections, session.reply_hash("carries", salt))
    if half.opens_tests(chunk):
        half.tests = bits[layout.values :].reshape(shape.inner, -1)
        half.sending = chosen_rows(secrets, transfer, shape.node_bits).take(shape.node_bits)
    return split_records(shape.model, bits[: layout.values])


def _open_secondary(half: WindowHalf, chunk: int, reply: Sections) -> Trip[tuple[RecordShares, Sections]]:
    session, secrets, shape = half.session, half.secrets, half.shape
    parameters = session.tenant.parameters
    layout = shape.model.records_layout(shape.sizes[chunk])
    masked, t2s, *transfer = yield reply
    digits = open_masked(parameters, layout, masked, decode_t2s(parameters, t2s), secrets.theta, half.pool)
    if half.opens_tests(chunk):
        masked, t2s, *transfer = transfer
        nodes = decode_t2s(parameters, t2s)
        opened = open_masked(parameters, shape.tests, masked, nodes, secrets.theta, half.pool)
        digits = np.concatenate([digits, opened[:, :2]])
    salt = session.salt("carries", array_bytes(digits))
    rows = chosen_rows(secrets, transfer, len(digits)).take(len(digits))
    bits, corrections = share_bits_secondary(digits, rows, session.reply_hash("carries", salt))
    reply = (salt, corrections)
    if half.opens_tests(chunk):
        half.tests = bits[layout.values :].reshape(shape.inner, -1)
        chosen = choose(session, secrets, "tests", half.tests.reshape(-1), corrections)
        half.choosing = chosen.rows.take(shape.node_bits)
        reply += chosen.sections
    return split_records(shape.model, bits[: layout.values]), reply


# --- 2: test


def _test_master(half: WindowHalf, chunk: int, records: RecordShares) -> Trip[TestShares]:
    session, secrets, shape = half.session, half.secrets, half.shape
    outcomes: Bits | None = None
    sections: Sections = ()
    if half.sending is not None:
        own_salt = session.salt("columns", array_bytes(records.tests))
        own_hash = session.request_hash("columns", own_salt)
        added, columns = send_columns(half.sending, records.tests, shape.inner, own_hash)
        outcomes = own_product(half.tests, records.tests) ^ added
        sections = (own_salt, columns)
    if half.opens_tests(chunk):
        chosen = choose(session, secrets, "tests", half.tests.reshape(-1), b"".join(sections))
        half.choosing = chosen.rows.take(shape.node_bits)
        sections += chosen.sections
    chosen = choose(session, secrets, "bits", records.bits, b"".join(sections))
    salt, corrections, *strings = yield (*sections, *chosen.sections)
    if outcomes is not None and half.choosing is not None:
        peer_hash = session.reply_hash("columns", salt)
        size = shape.sizes[chunk]
        outcomes = outcomes ^ receive_columns(half.choosing, strings[0], shape.inner, size, peer_hash)
    rows = chosen.rows.take(len(records.bits))
    words = words_of_shared_bits_receiver(rows, corrections, session.reply_hash("words", salt))
    return TestShares(outcomes, words.reshape(shape.sizes[chunk], -1))


def _test_secondary(
    half: WindowHalf, chunk: int, records: RecordShares, reply: Sections
) -> Trip[tuple[TestShares, Sections]]:
    session, secrets, shape = half.session, half.secrets, half.shape
    size = shape.sizes[chunk]
    transfer = list((yield reply))
    outcomes: Bits | None = None
    if half.choosing is not None:
        peer_salt, columns, *transfer = transfer
        peer_hash = session.request_hash("columns", peer_salt)
        outcomes = receive_columns(half.choosing, columns, shape.inner, size, peer_hash)
        outcomes = outcomes ^ own_product(half.tests, records.tests)
    if half.opens_tests(chunk):
        nonce, message, *transfer = transfer
        half.sending = chosen_rows(secrets, (nonce, message), shape.node_bits).take(shape.node_bits)
    rows = chosen_rows(secrets, transfer, len(records.bits)).take(len(records.bits))
    salt = session.salt("test", array_bytes(records.bits))
    words, corrections = words_of_shared_bits_sender(rows, records.bits, session.reply_hash("words", salt))
    reply = (salt, corrections)
    if outcomes is not None and half.sending is not None:
        own_hash = session.reply_hash("columns", salt)
        added, columns = send_columns(half.sending, records.tests, shape.inner, own_hash)
        outcomes = outcomes ^ added
        reply += (columns,)
    return TestShares(outcomes, words.reshape(size, -1)), reply


# --- 3: route


def _route_master(
    half: WindowHalf, chunk: int, records: RecordShares, tested: TestShares
) -> Trip[tuple[Bits, SentRows]]:
    session, secrets, circuit = half.session, half.secrets, half.shape.circuit
    inputs = route_inputs(half.shape, records, tested, is_master=True)
    indicators, rows = [], []
    for block in half.shape.route_blocks(chunk):
        choices = circuit.choices(block.records, block_inputs(inputs, block))
        chosen = choose(session, secrets, "inputs", choices)
        *garbled, nonce, message = yield chosen.sections
        (counted,) = evaluate_to_shares(session, circuit, block.records, chosen.rows, garbled)
        indicators.append(indicators_of(counted))
        size = indicators[-1].size
        rows.append(chosen_rows(secrets, (nonce, message), size).take(size))
    return np.concatenate(indicators), SentRows(np.concatenate([part.rows for part in rows]), rows[0].delta)


def _route_secondary(
    half: WindowHalf, chunk: int, records: RecordShares, tested: TestShares, reply: Sections
) -> Trip[tuple[Bits, ReceivedRows, Sections]]:
    session, secrets, circuit = half.session, half.secrets, half.shape.circuit
    inputs = route_inputs(half.shape, records, tested, is_master=False)
    indicators, rows = [], []
    for block in half.shape.route_blocks(chunk):
        transfer = yield reply
        input_rows = chosen_rows(secrets, transfer, circuit.choice_count(block.records))
        own = block_inputs(inputs, block)
        garbled = garble_to_shares(session, circuit, block.records, input_rows, own, secrets.sender.delta)
        indicators.append(indicators_of(garbled.shares[0]))
        chosen = choose(session, secrets, "indicators", indicators[-1].reshape(-1))
        rows.append(chosen.rows.take(indicators[-1].size).rows)
        reply = (*garbled.sections, *chosen.sections)
    joined = np.concatenate(indicators)
    return joined, ReceivedRows(np.concatenate(rows), joined.reshape(-1)), reply


# --- 4: count


def _count_master(
    half: WindowHalf, chunk: int, indicators: Bits, columns: Words, peer_rows: SentRows
) -> Trip[bytes]:
    session, shape, before = half.session, half.shape, half.seen
    peers = SenderRows(peer_rows)
    rest: list[bytes] = []
    for block in shape.count_blocks(chunk):
        own, size = indicators[block.part], block.records * shape.kinds
        own_salt = session.salt("counts", array_bytes(own, columns[block.part]))
        own_hash = session.request_hash("counts", own_salt)
        added, payload = send_counts(peers.take(size), own, columns[block.part], own_hash)
        half.counts += added
        chosen = choose(session, half.secrets, "indicators", own.reshape(-1), payload)
        salt, corrections, *rest = yield (own_salt, payload, *chosen.sections)
        peer_hash = session.reply_hash("counts", salt)
        received = chosen.rows.take(size)
        half.counts += receive_counts(received, corrections, block.records, shape.columns, peer_hash)
    peer_valid = np.frombuffer(rest[0], dtype="<u4")
    valid = int((peer_valid + half.seen - before)[0])
    if valid > shape.sizes[chunk]:
        raise RemoteProtocolError("more valid records than the chunk has")
    half.valid.append(valid)
    return rest[-1]


def _count_secondary(
    half: WindowHalf,
    chunk: int,
    indicators: Bits,
    columns: Words,
    own_rows: ReceivedRows,
    reply: Sections,
) -> Trip[Sections]:
    session, shape, before = half.session, half.shape, half.seen
    own_stock = ReceiverRows(own_rows)
    for block in shape.count_blocks(chunk):
        own, size = indicators[block.part], block.records * shape.kinds
        peer_salt, payload, *transfer = yield reply
        peer_hash = session.request_hash("counts", peer_salt)
        received = own_stock.take(size)
        half.counts += receive_counts(received, payload, block.records, shape.columns, peer_hash)
        salt = session.salt("counts", array_bytes(own, columns[block.part]))
        sent = chosen_rows(half.secrets, transfer, size).take(size)
        own_hash = session.reply_hash("counts", salt)
        added, payload = send_counts(sent, own, columns[block.part], own_hash)
        half.counts += added
        reply = (salt, payload)
    valid = np.array([half.seen], dtype="<u4") - before
    return (*reply, valid.tobytes())


# --- the programs


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What a window leaves at MU.

    Attributes:
        state: The tree after it.
        valid: How many records of every chunk were valid.
    """

    state: TreeState
    valid: tuple[int, ...]


def train_master(
    session: Session,
    secrets: UnitSecrets,
    shape: WindowShape,
    chunks: Sequence[Sequence[Ciphertext]],
    state: TreeState,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[WindowResult]:
    """Run MU's half of a window and return the tree after it.

    Args:
        session: This window's.
        secrets: MU's.
        shape: Of the window.
        chunks: Ciphertexts of every chunk, its proof verified.
        state: The tree before it.
        pool: Threads for the powers.

    Security:
        MU learns how many records of each chunk were valid. Everything else that it sees are
        bit shares and word shares.

    Cost:
        Per record F_onehot + C bits opened and as many transfers to words; I·F transfers per
        window with a bit of payload per record; about K + I·C gates; 2·L·C transfers with F + 1
        words. Per window one seal of L·(F + 1)·C words.
    """
    half = window_half(session, secrets, shape, pool)
    sealed = b""
    for chunk, ciphertexts in enumerate(chunks):
        records = yield from _open_master(half, chunk, ciphertexts, state.tests)
        tested = yield from _test_master(half, chunk, records)
        indicators, rows = yield from _route_master(half, chunk, records, tested)
        sealed = yield from _count_master(
            half, chunk, indicators, counted_columns(shape, tested.words, 1), rows
        )
    return WindowResult(_add_seal(half, state, sealed), tuple(half.valid))


def train_secondary(
    session: Session, secrets: UnitSecrets, shape: WindowShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half of a window.

    Security:
        SU sees the masked plaintexts, which are 2^-80-close to uniform, and shares.
    """
    half = window_half(session, secrets, shape, pool)
    reply: Sections = ()
    for chunk in range(len(shape.sizes)):
        records, reply = yield from _open_secondary(half, chunk, reply)
        tested, reply = yield from _test_secondary(half, chunk, records, reply)
        indicators, rows, reply = yield from _route_secondary(half, chunk, records, tested, reply)
        columns = counted_columns(shape, tested.words, 0)
        reply = yield from _count_secondary(half, chunk, indicators, columns, rows, reply)
    coins = session.coins("seal", b"", array_bytes(half.counts))
    sealed = []
    for layout, shares in zip(shape.layouts(), shape.vectors(half.counts), strict=True):
        sealed += seal_secondary(session.tenant.service_key, layout, shares, coins, pool)
    yield (*reply, encode_ciphertexts(session.tenant.parameters, sealed))


def _add_seal(half: WindowHalf, state: TreeState, sealed: bytes) -> TreeState:
    """Add MU's shares to SU's seal, re-randomise, and add the window to the tree."""
    session, shape = half.session, half.shape
    parameters = session.tenant.parameters
    coins = session.coins("seal", sealed, array_bytes(half.counts))
    ciphertexts = decode_ciphertexts(parameters, sealed)
    fresh = []
    for layout, shares in zip(shape.layouts(), shape.vectors(half.counts), strict=True):
        part, ciphertexts = ciphertexts[: layout.ciphertexts], ciphertexts[layout.ciphertexts :]
        fresh.append(seal_master(session.tenant.service_key, layout, part, shares, coins, half.pool))
    statistics = dict(state.statistics)
    for leaf in shape.restarted:
        statistics[leaf] = (ZERO,) * shape.model.statistics_layout().ciphertexts
    if shape.is_growing:
        for leaf, added in zip(shape.leaves, fresh[:-1], strict=True):
            statistics[leaf] = multiply_in(parameters, statistics[leaf], 0, added)
    return replace(
        state,
        growth=shape.after,
        totals=multiply_in(parameters, state.totals, 0, fresh[-1]),
        statistics=MappingProxyType(statistics),
        labels=(),
    )
