"""Priv-LR, the step *open* of every session: sealed weights and records become shares.

Weights become bit shares by a garbled adder, narrow words meet the comparison that finds their
carries, bits become bit shares. The carries become words in the step after, *forward*. The halves
of both units stand side by side.
"""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.circuits.logistic import FORWARD_WORD_BITS
from crypto.circuits.words import bits_words, word_bits
from crypto.dtpkc import Ciphertext, encode_ciphertexts
from roles.building_blocks.garble import evaluate_shares, garble_shares
from roles.building_blocks.narrow_words import CARRIES, carry_inputs
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
from roles.classifiers.logistic_regression_schedule import FORWARD_SHIFT, WEIGHT_BITS
from roles.classifiers.logistic_regression_shape import LogisticShape, OpeningShape, split_sections
from roles.plan import Sections
from roles.session import Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

_NONE: Bits = np.zeros(0, dtype=np.uint8)


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
class WeightShares:
    """One unit's shares of the model in a session.

    Attributes:
        state: Bit shares of the state, shape (24, blocks, K, d + 1).
        led: Word shares of ⌊w/2^6⌋·2^10 of the weights of bits, shape (columns, K).
    """

    state: Bits = field(repr=False)
    led: Words = field(repr=False)

    def of_numbers(self, model: LogisticShape) -> Bits:
        """Return the bits that multiply numbers, shape (18, K, words + 1)."""
        return np.ascontiguousarray(self.state[FORWARD_SHIFT:, -1][..., list(model.number_columns)])


@dataclass(frozen=True, slots=True, eq=False)
class OpenedShares:
    """One unit's shares after step *open*.

    Attributes:
        weights: Of the model.
        carries: Bit shares of the carries of the words, shape (n·words,).
        bits: Bit shares of the records' bits, shape (n, columns of the encoding).
        digits: This unit's digits of the words, shape (n·words, W).
    """

    weights: WeightShares
    carries: Bits = field(repr=False)
    bits: Bits = field(repr=False)
    digits: Bits = field(repr=False)

    def features(self, model: LogisticShape) -> Bits:
        """Return the bits that are features, shape (n, columns)."""
        return np.ascontiguousarray(self.bits[:, list(model.records.bit_columns)])

    def labels(self, model: LogisticShape) -> Bits:
        """Return the bits that say whether a record is of a problem's class, shape (n, K)."""
        return self.bits[:, list(model.records.label_columns)]


def led_words(shares: npt.NDArray[np.unsignedinteger]) -> Words:
    """Return shares of words mod 2^22, shape (K, columns), as shares of 2^10 times them."""
    words: Words = shares.T.astype(np.uint32) << np.uint32(32 - FORWARD_WORD_BITS)
    return np.ascontiguousarray(words)


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
    garbled = tuple(data for name, data in reply.items() if name.startswith("state."))
    shown = (1,) if shape.model.columns else ()
    weights = evaluate_shares(session, shape.state_circuit, shape.values, rows, garbled, shown)
    carries, bits = _NONE, _NONE
    if shape.words is not None:
        garbled = reply["words.salt"], reply["words.tables"]
        (carries,) = evaluate_shares(session, CARRIES, shape.words.values, rows, garbled)
    if shape.bits is not None:
        block_hash = session.reply_hash("bits", reply["bits.salt"])
        taken = rows.take(shape.bits.values)
        bits = share_bits_master(digits["bits"], taken, reply["bits.carries"], block_hash)
    led = bits_words(weights[1], np.uint32) if shown else None
    return _opened(shape, weights[0], led, carries, bits, digits.get("words", _NONE))


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
    led: Words | None = None
    shown: tuple[int, ...] = ()
    if shape.model.columns:
        coins = session.coins("weight shares", b"", array_bytes(digits["state"]))
        led = coins.words(shape.values, np.uint32) & np.uint32((1 << FORWARD_WORD_BITS) - 1)
        own_bits["mask"] = word_bits(led, FORWARD_WORD_BITS)
        shown = (1,)
    reply, (weights, *_) = garble_shares(
        session, "garble state", shape.state_circuit, shape.values, rows, own_bits, delta, shown
    )
    carries, bits = _NONE, _NONE
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
    return _opened(shape, weights, led, carries, bits, digits.get("words", _NONE)), reply


def _opened(
    shape: OpeningShape, weights: Bits, led: Words | None, carries: Bits, bits: Bits, digits: Bits
) -> OpenedShares:
    model = shape.model
    columns = slice(model.records.words, model.weights - 1)
    words = np.zeros((0, model.problems), dtype=np.uint32)
    if led is not None:
        words = led_words(led.reshape(-1, model.problems, model.weights)[-1][:, columns])
    state = weights.reshape(WEIGHT_BITS, -1, model.problems, model.weights)
    per_record = bits.reshape(shape.rows, -1) if bits.size else np.zeros((shape.rows, 0), dtype=np.uint8)
    return OpenedShares(WeightShares(state, words), carries, per_record, digits)
