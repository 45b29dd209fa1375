"""Priv-LR, the first two steps of every session: sealed weights and records become shares.

*open*: weights become bit shares by a garbled adder, narrow words meet the comparison that finds
their carries, bits become bit shares. *forward*: carries and bits become words, while the first
product with the weights is under way. The halves of both units stand side by side.
"""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bit_products
from crypto.dtpkc import Ciphertext, encode_ciphertexts
from crypto.ot_extension import ReceivedRows, SentRows
from roles.building_blocks.garble import evaluate_shares, garble_shares
from roles.building_blocks.narrow_words import (
    CARRIES,
    carry_inputs,
    words_of_master,
    words_of_secondary,
)
from roles.building_blocks.opening import (
    bit_choices,
    decode_t2,
    encode_t2,
    mask_vector,
    open_masked,
    share_bits_master,
    share_bits_secondary,
)
from roles.building_blocks.state_words import state_inputs
from roles.building_blocks.transfers import choose, chosen_rows
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE, FORWARD_SHIFT, WEIGHT_BITS
from roles.classifiers.logistic_regression_shape import OpeningShape, ones_column, split_sections
from roles.plan import Sections
from roles.session import Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class EncryptedRecords:
    """Ciphertexts of records, their proof verified.

    Attributes:
        words: Of the narrow words; empty without.
        bits: Of the bits; empty without.
    """

    words: tuple[Ciphertext, ...] = field(repr=False)
    bits: tuple[Ciphertext, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedShares:
    """One unit's shares after step *open*.

    Attributes:
        state: Bit shares of the state, shape (24, blocks, K, d + 1).
        carries: Bit shares of the carries of the words, shape (n, words).
        bits: Bit shares of the records' bits, shape (n, columns).
        digits: This unit's digits of the words, shape (values, W).
    """

    state: Bits = field(repr=False)
    carries: Bits = field(repr=False)
    bits: Bits = field(repr=False)
    digits: Bits = field(repr=False)

    def forward_bits(self) -> Bits:
        """Return the bits of the weights that are multiplied by the records, (18, K, d + 1)."""
        return self.state[FORWARD_SHIFT:, -1]

    def converted(self, shape: OpeningShape) -> Bits:
        """Return the bits that become words, row by row: carries, then bits that are features."""
        columns = list(shape.model.records.bit_columns)
        return np.ascontiguousarray(np.concatenate([self.carries, self.bits[:, columns]], axis=1))

    def labels(self, shape: OpeningShape) -> Bits:
        """Return the bits that say whether a record is of a problem's class, shape (n, K)."""
        return self.bits[:, list(shape.model.records.label_columns)]


def open_master(
    session: Session,
    secrets: UnitSecrets,
    shape: OpeningShape,
    state: tuple[Ciphertext, ...],
    records: EncryptedRecords,
    pool: ThreadPoolExecutor | None = None,
) -> Generator[Sections, Sections, OpenedShares]:
    """Run MU's half of step *open*.

    Cost:
        One short power per ciphertext at each unit; 25 choices per weight, 11 per word, one per
        bit; 24 gates per weight, 11 per word.
    """
    parameters = session.tenant.parameters
    vectors = {"state": (shape.state, state[: shape.state.ciphertexts])}
    if shape.words is not None:
        vectors["words"] = (shape.words, records.words)
    if shape.bits is not None:
        vectors["bits"] = (shape.bits, records.bits)
    sections: list[bytes] = []
    digits = {}
    for name, (layout, ciphertexts) in vectors.items():
        coins = session.coins(f"mask {name}", encode_ciphertexts(parameters, ciphertexts))
        masked = mask_vector(parameters, layout, ciphertexts, secrets.theta, coins, pool)
        digits[name] = masked.digits
        sections.append(masked.masked)
        if shape.training or name == "state":
            sections.append(encode_t2(parameters, ciphertexts))
    choices = [state_inputs(shape.state_circuit, digits["state"]).reshape(-1)]
    if shape.words is not None:
        choices.append(carry_inputs(digits["words"]).reshape(-1))
    if shape.bits is not None:
        choices.append(bit_choices(digits["bits"]))
    chosen = choose(session, secrets, "digits", np.concatenate(choices), b"".join(sections))
    reply = split_sections((yield (*sections, *chosen.sections)), shape.open_step, "reply")
    rows = chosen.rows
    garbled = reply["state.salt"], reply["state.tables"]
    (weights,) = evaluate_shares(session, shape.state_circuit, shape.values, rows, garbled)
    carries, bits = _no_bits(shape), _no_bits(shape)
    if shape.words is not None:
        garbled = reply["words.salt"], reply["words.tables"]
        (carries,) = evaluate_shares(session, CARRIES, shape.words.values, rows, garbled)
    if shape.bits is not None:
        block_hash = session.reply_hash("bits", reply["bits.salt"])
        taken = rows.take(shape.bits.values)
        bits = share_bits_master(digits["bits"], taken, reply["bits.carries"], block_hash)
    return _opened(shape, weights, carries, bits, digits.get("words"))


def open_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: OpeningShape,
    request: Sections,
    t2s: dict[str, tuple[int, ...]],
    pool: ThreadPoolExecutor | None = None,
) -> tuple[OpenedShares, Sections]:
    """Answer step *open* (SU).

    Args:
        session: This session.
        secrets: SU's.
        shape: Of what is opened.
        request: MU's.
        t2s: For a query, T2 of ``words`` and ``bits`` from SU's own copy of the client's message.
        pool: Threads for the powers.
    """
    parameters = session.tenant.parameters
    fields = split_sections(request, shape.open_step, "request")
    layouts = {"state": shape.state, "words": shape.words, "bits": shape.bits}
    digits = {}
    for name, layout in layouts.items():
        if layout is not None:
            own = f"{name}.t2" in fields
            t2 = decode_t2(parameters, fields[f"{name}.t2"]) if own else t2s[name]
            masked = fields[f"{name}.masked"]
            digits[name] = open_masked(parameters, layout, masked, t2, secrets.theta, pool)
    transfer = fields["digits.nonce"], fields["digits.extension"]
    rows = chosen_rows(secrets, transfer, shape.choices)
    delta = secrets.sender.delta
    own_bits = {"digits_su": state_inputs(shape.state_circuit, digits["state"])}
    reply, (weights,) = garble_shares(
        session, "garble state", shape.state_circuit, shape.values, rows, own_bits, delta
    )
    carries, bits = _no_bits(shape), _no_bits(shape)
    if shape.words is not None:
        own_bits = {"digits_su": carry_inputs(digits["words"])}
        garbled, (carries,) = garble_shares(
            session, "garble words", CARRIES, shape.words.values, rows, own_bits, delta
        )
        reply = (*reply, *garbled)
    if shape.bits is not None:
        salt = session.salt("bits", array_bytes(digits["bits"]))
        taken = rows.take(shape.bits.values)
        bits, corrections = share_bits_secondary(digits["bits"], taken, session.reply_hash("bits", salt))
        reply = (*reply, salt, corrections)
    return _opened(shape, weights, carries, bits, digits.get("words")), reply


def convert_master(
    shape: OpeningShape, opened: OpenedShares, rows: ReceivedRows, corrections: bytes, block_hash: BlockHash
) -> Words:
    """Return MU's word shares of the records with their constant, shape (n, d + 1).

    Cost:
        One transfer of one word per word or bit of the records.
    """
    shares = receive_words(rows, corrections, 1, np.uint32, block_hash)
    carries, features = _split(shape, shares)
    if shape.words is not None:
        words = words_of_master(shape.words, opened.digits, carries.reshape(-1))
        features = np.concatenate([words.reshape(shape.rows, -1), features], axis=1)
    return np.concatenate([features, ones_column(shape.rows, 0)], axis=1)


def convert_secondary(
    shape: OpeningShape, opened: OpenedShares, rows: SentRows, block_hash: BlockHash
) -> tuple[Words, bytes]:
    """Return SU's word shares of the records with their constant, and the corrections."""
    bits = opened.converted(shape).reshape(-1)
    shares, corrections = send_bit_products(rows, bits, np.ones((len(bits), 1), np.uint32), block_hash)
    carries, features = _split(shape, shares)
    if shape.words is not None:
        words = words_of_secondary(shape.words, opened.digits, carries.reshape(-1))
        features = np.concatenate([words.reshape(shape.rows, -1), features], axis=1)
    return np.concatenate([features, ones_column(shape.rows, FEATURE_ONE)], axis=1), corrections


def _split(shape: OpeningShape, shares: Words) -> tuple[Words, Words]:
    """Return shares of carries (n, words) and of features from bits (n, columns), these as 1.0."""
    per_row = shares.reshape(shape.rows, shape.model.records.features)
    words = shape.model.records.words
    return np.ascontiguousarray(per_row[:, :words]), per_row[:, words:] * np.uint32(FEATURE_ONE)


def _no_bits(shape: OpeningShape) -> Bits:
    return np.zeros(0, dtype=np.uint8)


def _opened(
    shape: OpeningShape, weights: Bits, carries: Bits, bits: Bits, digits: Bits | None
) -> OpenedShares:
    model = shape.model
    return OpenedShares(
        weights.reshape(WEIGHT_BITS, -1, model.problems, model.weights),
        carries.reshape(shape.rows, -1) if carries.size else carries.reshape(shape.rows, 0),
        bits.reshape(shape.rows, -1) if bits.size else bits.reshape(shape.rows, 0),
        digits if digits is not None else np.zeros((0, 0), dtype=np.uint8),
    )
