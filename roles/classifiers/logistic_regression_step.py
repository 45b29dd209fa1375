"""Priv-LR: one step of gradient descent on shares, four round trips whatever the batch's size.

1. *forward*: z = X·w as word shares;
2. *sigmoid*: a garbled circuit adds the shares; e = σ(z) − y stays in bits;
3. *gradient*: g = Xᵀ·e as word shares;
4. *update*: a garbled circuit moves the weights and checks their range; after the last step of a
   session they leave masked.

The halves of both units follow each other (docs/protocols.md §6).
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.circuits.logistic import (
    ERROR_WORD_BITS,
    FORWARD_WORD_BITS,
    SCORE_BITS,
    SIGMOID_BITS,
    WORD_BITS,
    Sigmoid,
    WeightUpdate,
)
from crypto.circuits.words import bits_words, word_bits
from crypto.ot_extension import SenderRows
from roles.building_blocks.garble import evaluate_shares, garble_shares, shared_sections
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.classifiers.logistic_regression_forward import ForwardShape, forward_master, forward_secondary
from roles.classifiers.logistic_regression_opening import OpenedShares, WeightShares, led_words
from roles.classifiers.logistic_regression_products import RecordProducts, RecordShares, sent_sections
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE
from roles.classifiers.logistic_regression_shape import LogisticShape, split_sections
from roles.plan import Section, Sections, Step
from roles.session import Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class StepShape:
    """The public shape of a step.

    Attributes:
        forward: Its first round trip; names the batch.
        number: Steps that the model has made before.
        last: The last of the session: weights leave.
    """

    forward: ForwardShape
    number: int
    last: bool

    @property
    def model(self) -> LogisticShape:
        """The model."""
        return self.forward.model

    @property
    def products(self) -> RecordProducts:
        """Both products over the batch."""
        return self.forward.products

    @property
    def records(self) -> int:
        """Records of the batch."""
        return self.forward.stop - self.forward.start

    @property
    def scores(self) -> int:
        """Scores of the batch, K·n: what the sigmoid's batch is."""
        return self.records * self.model.problems

    @property
    def sigmoid(self) -> Sigmoid:
        """The circuit of the sigmoid."""
        return Sigmoid(error_words=self.model.columns > 0)

    @cached_property
    def update(self) -> WeightUpdate:
        """The circuit of the update."""
        factor = self.model.schedule.factor(self.number, self.records)
        parts = self.products.backward.parts
        return WeightUpdate(
            features=self.model.weights,
            problems=self.model.problems,
            parts=len(parts),
            # |e| < 2^10 and |x| ≤ 2^10, a sign.
            gradient_bits=(max(parts) << 20).bit_length() + 1,
            multiplier=factor.multiplier,
            shift=factor.shift,
            l2_shift=self.model.schedule.l2_shift,
            momentum_16=self.model.schedule.momentum_16,
            sealed=self.last,
            word_start=self.model.records.words,
            word_stop=self.model.weights - 1,
        )

    @property
    def shown_errors(self) -> tuple[int, ...]:
        """Outputs of the sigmoid that MU may read: masked words."""
        return (1,) if self.model.columns else ()

    @property
    def shown_results(self) -> tuple[int, ...]:
        """Outputs of the update that MU may read: masked words, and at the end the overflow."""
        if self.last:
            return (0, 1)
        return (2,) if self.model.columns else ()

    @cached_property
    def round_trips(self) -> tuple[Step, Step, Step, Step]:
        """The four round trips."""
        errors = self.products.backward.rows
        seen_errors = ERROR_WORD_BITS * self.scores if self.model.columns else 0
        seen, sealed = FORWARD_WORD_BITS * self.model.problems * self.model.columns, []
        if self.last:
            seen = WORD_BITS * self.model.state.values + 1
            width = self.model.tenant.parameters.ciphertext_bytes
            sealed = [Section("sealed", width * self.model.state.ciphertexts)]
        return (
            self.forward.step(),
            Step(
                "sigmoid",
                ("multiply", "garble"),
                (
                    *self.products.forward_sections(),
                    *transfer_sections(self.sigmoid.choice_count(self.scores), "scores"),
                ),
                (
                    *shared_sections(self.sigmoid, self.scores, "sigmoid", seen_errors),
                    *transfer_sections(errors, "errors_su"),
                ),
            ),
            Step(
                "gradient",
                ("multiply",),
                (*self.products.backward_sections(), *transfer_sections(errors, "errors_mu")),
                self.products.backward_sections(),
            ),
            Step(
                "update",
                ("garble", "seal") if self.last else ("garble",),
                transfer_sections(self.update.choice_count(1), "gradients"),
                (*shared_sections(self.update, 1, "update", seen), *sealed),
            ),
        )

    def labels(self, labels: Bits) -> Bits:
        """Return the labels of the batch from those of the chunk, shape (K, n)."""
        return np.ascontiguousarray(labels[self.forward.start : self.forward.stop].T)

    def errors(self, sigmoids: Bits, labels: Bits) -> Bits:
        """Return the bits of e, shape (10, K, n): those of m, and the label."""
        per_problem = sigmoids.reshape(SIGMOID_BITS, self.model.problems, self.records)
        return np.concatenate([per_problem, labels[np.newaxis]])

    def error_words(self, shares: Words, one: int) -> Words:
        """Return word shares of e·2^20 = (2(m − 512y) + 1)·2^10, shape (n, K); `one` at SU only."""
        words = (shares.reshape(self.model.problems, -1).T << np.uint32(WORD_BITS - ERROR_WORD_BITS)) + one
        return np.ascontiguousarray(words.astype(np.uint32))

    def gradient_bits(self, gradient: Words) -> Bits:
        """Return gradients (parts, K, d + 1) as the circuit takes them."""
        return word_bits(gradient, self.update.gradient_bits)[..., np.newaxis]


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """One unit's running state between steps.

    Attributes:
        weights: Shares of the model; after the last step of a session meaningless.
        known: What was opened, before the first step; then the records.
        labels: Bit shares of the labels, shape (n, K).
        overflow: Bit share of "a step overflowed", shape (1, 1); at MU the bit itself at the end.
        masked: After the last step MU's words of the state and SU's masks, in the layout's order.
    """

    weights: WeightShares
    known: OpenedShares | RecordShares
    labels: Bits = field(repr=False)
    overflow: Bits = field(repr=False)
    masked: Words = field(repr=False)

    @classmethod
    def begin(cls, opened: OpenedShares, model: LogisticShape) -> "Descent":
        """Return the state before the first step."""
        overflow, masked = np.zeros((1, 1), dtype=np.uint8), np.zeros(0, dtype=np.uint32)
        return cls(opened.weights, opened, opened.labels(model), overflow, masked)


def descend_master(
    session: Session, secrets: UnitSecrets, shape: StepShape, before: Descent
) -> Generator[Sections, Sections, tuple[Descent, dict[str, bytes]]]:
    """Run MU's half of a step; return the state after it, and the fields of the last reply.

    Cost:
        Per problem, with w numbers and b bits a record: 18w + 10n transfers in both directions
        with n and w words, 2nb with one word; 134 gates per record (154 with bits), about 140 per
        weight.
    """
    _, sigmoid, gradient, update = shape.round_trips
    products = shape.products
    forward = yield from forward_master(session, secrets, shape.forward, before.weights, before.known)
    # 2: sigmoid. SU's corrections have come; MU's go out with its choices.
    labels = shape.labels(before.labels)
    inputs = {"scores_mu": word_bits(forward.scores.reshape(-1), SCORE_BITS)}
    if shape.shown_errors:
        inputs["label"] = labels.reshape(-1)
    chosen = choose(session, secrets, "scores", shape.sigmoid.choices(shape.scores, inputs), forward.due[1])
    reply = split_sections((yield (*forward.due, *chosen.sections)), sigmoid, "reply")
    garbled = sent_sections(reply, "sigmoid")
    found = evaluate_shares(session, shape.sigmoid, shape.scores, chosen.rows, garbled, shape.shown_errors)
    # 3: gradient.
    errors = shape.errors(found[0], labels)
    words = np.zeros(0, dtype=np.uint32)
    if shape.shown_errors:
        words = shape.error_words(bits_words(found[1], np.uint32), 0)
    rows = products.backward.rows
    peer_rows = chosen_rows(secrets, (reply["errors_su.nonce"], reply["errors_su.extension"]), rows)
    due, own = products.send_backward(session, errors, words, forward.batch, peer_rows.take(rows))
    chosen = choose(session, secrets, "errors", products.backward.choices(errors), due[1])
    reply = split_sections((yield (*due, *chosen.sections)), gradient, "reply")
    sent = sent_sections(reply, "gradient")
    gradients = own + products.receive_backward(session, sent, forward.batch, chosen.rows.take(rows))
    # 4: update.
    inputs = {
        "gradient_mu": shape.gradient_bits(gradients),
        "state": before.weights.state[..., np.newaxis],
        "overflow": before.overflow,
    }
    chosen = choose(session, secrets, "gradients", shape.update.choices(1, inputs))
    reply = split_sections((yield chosen.sections), update, "reply")
    garbled = sent_sections(reply, "update")
    results = evaluate_shares(session, shape.update, 1, chosen.rows, garbled, shape.shown_results)
    if shape.last:
        masked = bits_words(results[0], np.uint32).reshape(-1)
        return Descent(before.weights, forward.records, before.labels, results[1], masked), reply
    led = before.weights.led
    if shape.shown_results:
        words = bits_words(results[2][..., 0], np.uint32)
        led = led_words(words)
    weights = WeightShares(results[0][..., 0], led)
    return Descent(weights, forward.records, before.labels, results[1], before.masked), reply


def descend_secondary(
    session: Session, secrets: UnitSecrets, shape: StepShape, before: Descent, request: Sections
) -> Generator[Sections, Sections, tuple[Descent, Sections]]:
    """Run SU's half of a step; return the state after it, and the reply to its last request."""
    _, sigmoid, gradient, update = shape.round_trips
    products, delta = shape.products, secrets.sender.delta
    forward = forward_secondary(session, secrets, shape.forward, before.weights, before.known, request)
    request = yield forward.reply
    # 2: sigmoid. The masks are SU's shares of the errors' words.
    fields = split_sections(request, sigmoid, "request")
    scores = forward.complete(session, shape.forward, fields)
    labels = shape.labels(before.labels)
    rows = _rows(secrets, fields, "scores", shape.sigmoid.choice_count(shape.scores))
    own_bits = {"scores_su": word_bits(scores.reshape(-1), SCORE_BITS)}
    words = np.zeros(0, dtype=np.uint32)
    if shape.shown_errors:
        own_bits["label"] = labels.reshape(-1)
        hidden = array_bytes(scores, labels)
        masks = _masks(session, "error shares", hidden, (shape.scores,), ERROR_WORD_BITS)
        own_bits["mask"] = word_bits(masks, ERROR_WORD_BITS)
        words = shape.error_words(masks, FEATURE_ONE)
    reply, found = garble_shares(
        session, "garble sigmoid", shape.sigmoid, shape.scores, rows, own_bits, delta, shape.shown_errors
    )
    errors = shape.errors(found[0], labels)
    chosen = choose(session, secrets, "errors", products.backward.choices(errors))
    request = yield (*reply, *chosen.sections)
    # 3: gradient.
    fields = split_sections(request, gradient, "request")
    size = products.backward.rows
    sent = sent_sections(fields, "gradient")
    gradients = products.receive_backward(session, sent, forward.batch, chosen.rows.take(size))
    rows = _rows(secrets, fields, "errors_mu", size)
    reply, own = products.send_backward(session, errors, words, forward.batch, rows.take(size))
    gradients = gradients + own
    request = yield reply
    # 4: update. The masks are SU's shares of the state, or of the weights' words.
    fields = split_sections(request, update, "request")
    own_bits = {
        "gradient_su": shape.gradient_bits(gradients),
        "state": before.weights.state[..., np.newaxis],
        "overflow": before.overflow,
    }
    masks, led = before.masked, before.weights.led
    hidden = array_bytes(gradients, before.weights.state, before.overflow)
    if shape.last:
        masks = _masks(session, "state shares", hidden, before.weights.state.shape[1:], WORD_BITS)
        own_bits["mask"] = word_bits(masks, WORD_BITS)[..., np.newaxis]
    elif shape.shown_results:
        size_of_words = (shape.model.problems, shape.model.columns)
        words = _masks(session, "weight shares", hidden, size_of_words, FORWARD_WORD_BITS)
        own_bits["mask"] = word_bits(words, FORWARD_WORD_BITS)[..., np.newaxis]
        led = led_words(words)
    rows = _rows(secrets, fields, "gradients", shape.update.choice_count(1))
    reply, results = garble_shares(
        session, "garble update", shape.update, 1, rows, own_bits, delta, shape.shown_results
    )
    weights = before.weights if shape.last else WeightShares(results[0][..., 0], led)
    return Descent(weights, forward.records, before.labels, results[1], masks.reshape(-1)), reply


def _rows(secrets: UnitSecrets, fields: dict[str, bytes], name: str, size: int) -> SenderRows:
    return chosen_rows(secrets, (fields[f"{name}.nonce"], fields[f"{name}.extension"]), size)


def _masks(session: Session, purpose: str, hidden: bytes, shape: tuple[int, ...], bits: int) -> Words:
    """Return uniform words of so many bits: SU's shares of what leaves the circuit masked."""
    words = session.coins(purpose, b"", hidden).words(shape, np.uint32)
    kept: Words = words & np.uint32((1 << bits) - 1)
    return kept
