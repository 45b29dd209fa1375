"""Priv-LR, learn: steps of gradient descent over a chunk, from sealed weights to sealed weights.

One round trip opens, and every step takes four, whatever the chunk's size (docs/protocols.md §6):

1. *forward*: z = X·w as word shares, bits of the weights choosing columns of records;
2. *sigmoid*: a garbled circuit adds the shares; e = σ(z) − y stays in bits;
3. *gradient*: g = Xᵀ·e as word shares, bits of the errors choosing records;
4. *update*: a garbled circuit moves the weights and checks their range; after the last step they
   leave masked and are sealed, and one bit says whether any step overflowed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.logistic import SCORE_BITS, SIGMOID_BITS, WORD_BITS, Sigmoid, WeightUpdate
from crypto.circuits.words import bits_words, word_bits
from crypto.dtpkc import decode_ciphertexts, encode_ciphertexts
from crypto.errors import PrivMLError
from roles.building_blocks.garble import evaluate_shares, garble_shares, shared_sections
from roles.building_blocks.number_products import NumberProducts
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import Chosen, choose, chosen_rows, transfer_sections
from roles.classifiers.logistic_regression_opening import (
    EncryptedRecords,
    convert_master,
    convert_secondary,
    open_master,
    open_secondary,
)
from roles.classifiers.logistic_regression_schedule import FORWARD_SHIFT, part_sizes
from roles.classifiers.logistic_regression_shape import (
    LogisticShape,
    LogisticState,
    OpeningShape,
    check_step_sizes,
    split_sections,
)
from roles.plan import Plan, Section, Sections, Step
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

VERSION = 1

_REVEALED = (0, 1)  # the masked weights and the overflow bit, after the last step


class WeightOverflowError(PrivMLError):
    """A weight would have left its range. Nothing of the chunk is sealed; the state is as it was."""

    code = "overflow"


@dataclass(frozen=True)
class StepShape:
    """One step of gradient descent.

    Attributes:
        model: The model.
        start: First record of the batch.
        stop: Behind the last one.
        number: Steps that the model has made before.
        first: The first of the session: records are converted in it.
        last: The last of the session: weights leave.
    """

    model: LogisticShape
    start: int
    stop: int
    number: int
    first: bool
    last: bool

    @property
    def records(self) -> int:
        """Records of the batch."""
        return self.stop - self.start

    @cached_property
    def forward(self) -> NumberProducts:
        """Weights times columns of records."""
        return self.model.forward(self.records)

    @property
    def scores(self) -> int:
        """Scores of the batch, n·K: the sigmoid's batch."""
        return self.records * self.model.problems

    @cached_property
    def backward(self) -> NumberProducts:
        """Errors times records: 2^(b+1) for a bit of m, −2^10 for the label, in units of 2^−10."""
        weights = (*(2 << bit for bit in range(SIGMOID_BITS)), -(2 << SIGMOID_BITS))
        return NumberProducts(self.model.problems, part_sizes(self.records), weights, self.model.weights)

    @cached_property
    def update(self) -> WeightUpdate:
        """The circuit of the update."""
        factor = self.model.schedule.factor(self.number, self.records)
        largest = max(self.backward.parts) << 20
        return WeightUpdate(
            features=self.model.weights,
            problems=self.model.problems,
            parts=len(self.backward.parts),
            gradient_bits=largest.bit_length() + 1,
            multiplier=factor.multiplier,
            shift=factor.shift,
            l2_shift=self.model.schedule.l2_shift,
            momentum_16=self.model.schedule.momentum_16,
            sealed=self.last,
        )

    def gradient_bits(self, gradient: Words) -> Bits:
        """Return gradients (parts, K, d + 1) as the circuit takes them."""
        return word_bits(gradient, self.update.gradient_bits)[..., np.newaxis]

    def errors(self, sigmoids: Bits, labels: Bits) -> Bits:
        """Return the bits of e, shape (10, K, n), from those of m and of the labels."""
        per_problem = sigmoids.reshape(SIGMOID_BITS, self.model.problems, self.records)
        return np.concatenate([per_problem, labels[self.start : self.stop].T[np.newaxis]])

    def sums(self, matrix: Words) -> Words:
        """Return Σ x of every part, shape (parts, 1, d + 1): the halves that m + ½ leaves out."""
        starts = np.cumsum((0, *self.backward.parts[:-1]))
        totals: Words = np.add.reduceat(matrix, starts, axis=0, dtype=np.uint32)
        return totals[:, np.newaxis]


@dataclass(frozen=True)
class TrainingShape:
    """The public shape of a training session.

    Attributes:
        model: The model.
        rows: n, records of the chunk.
        steps_before: Steps that the model has made.
    """

    model: LogisticShape
    rows: int
    steps_before: int

    @cached_property
    def opening(self) -> OpeningShape:
        """What is opened."""
        return OpeningShape(self.model, self.rows, training=True)

    @cached_property
    def steps(self) -> tuple[StepShape, ...]:
        """All steps of gradient descent, in order."""
        batches = self.model.schedule.batches(self.rows)
        return tuple(
            StepShape(
                self.model,
                start,
                stop,
                self.steps_before + index,
                first=index == 0,
                last=index + 1 == len(batches),
            )
            for index, (start, stop) in enumerate(batches)
        )

    @cached_property
    def plan(self) -> Plan:
        """The session: open, then four round trips per step.

        Raises:
            LayoutError: A message would be too large to travel.
        """
        planned = [self.opening.open_step]
        for step in self.steps:
            planned += self.round_trips(step)
        check_step_sizes(tuple(planned))
        digests = tuple(step.update.digest() for step in self.steps)
        layouts = [self.model.state, self.opening.words, self.opening.bits]
        statements = tuple(layout.statement for layout in layouts if layout is not None)
        parameters = (self.rows, self.model.parameters, Sigmoid().digest(), digests, statements)
        return Plan("logistic_regression.learn", VERSION, parameters, tuple(planned))

    def round_trips(self, step: StepShape) -> tuple[Step, Step, Step, Step]:
        """Return the four round trips of a step."""
        circuit, sigmoid = step.update, Sigmoid()
        revealed, sealed = 0, []
        if step.last:
            revealed = WORD_BITS * self.model.state.values + 1
            width = self.model.tenant.parameters.ciphertext_bytes
            sealed = [Section("sealed", width * self.model.state.ciphertexts)]
        return (
            self.opening.forward_step(step.forward, first=step.first),
            Step(
                "sigmoid",
                ("multiply", "garble"),
                (
                    Section("forward.salt", SALT_BYTES),
                    Section("forward.words", step.forward.payload_bytes),
                    *transfer_sections(sigmoid.choice_count(step.scores), "scores"),
                ),
                (
                    *shared_sections(sigmoid, step.scores, "sigmoid"),
                    *transfer_sections(step.backward.rows, "errors_su"),
                ),
            ),
            Step(
                "gradient",
                ("multiply",),
                (
                    Section("gradient.salt", SALT_BYTES),
                    Section("gradient.words", step.backward.payload_bytes),
                    *transfer_sections(step.backward.rows, "errors_mu"),
                ),
                (
                    Section("gradient.salt", SALT_BYTES),
                    Section("gradient.words", step.backward.payload_bytes),
                ),
            ),
            Step(
                "update",
                ("garble", "seal") if step.last else ("garble",),
                transfer_sections(circuit.choice_count(1), "gradients"),
                (*shared_sections(circuit, 1, "update", revealed), *sealed),
            ),
        )


def learn_master(
    session: Session,
    secrets: UnitSecrets,
    shape: TrainingShape,
    state: LogisticState,
    records: EncryptedRecords,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[LogisticState]:
    """Run MU's half of a training session and return the new state.

    Args:
        session: This chunk's.
        secrets: MU's.
        shape: Of the session.
        state: The model's, as sealed.
        records: The chunk's, their proof verified.
        pool: Threads for the powers.

    Raises:
        WeightOverflowError: A step overflowed. `state` is what remains.

    Security:
        MU sees uniform shares, masked words, and after the last step the overflow bit.

    Cost:
        One short power per ciphertext of records and two per ciphertext of state at each unit; per
        step and problem 18(d + 1) + 10n transfers in both directions, 134 gates per record and
        about 140 per weight; 1 + 4 round trips per step.

    Source:
        Mohassel, Zhang 2017 (SecureML), with exact rounding; docs/protocols.md §6.
    """
    opened = yield from open_master(session, secrets, shape.opening, state.ciphertexts, records, pool)
    labels = opened.labels(shape.opening)
    weights, overflow = opened.state, np.zeros((1, 1), dtype=np.uint8)
    matrix = np.zeros((0, 0), dtype=np.uint32)
    results: tuple[Bits, ...] = ()
    reply: dict[str, bytes] = {}
    for step in shape.steps:
        forward, sigmoid, gradient, update = shape.round_trips(step)
        # 1: forward. MU's bits of the weights choose; its own columns go out with request 2.
        bits = weights[FORWARD_SHIFT:, -1]
        choices = step.forward.choices(bits)
        if step.first:
            choices = np.concatenate([opened.converted(shape.opening).reshape(-1), choices])
        chosen = choose(session, secrets, "weights", choices)
        reply = split_sections((yield chosen.sections), forward, "reply")
        if step.first:
            taken = chosen.rows.take(shape.opening.converted)
            block_hash = session.reply_hash("convert", reply["convert.salt"])
            matrix = convert_master(shape.opening, opened, taken, reply["convert.words"], block_hash)
        batch = np.ascontiguousarray(matrix[step.start : step.stop])
        block_hash = session.reply_hash("forward", reply["forward.salt"])
        scores = step.forward.receive(chosen.rows.take(step.forward.rows), reply["forward.words"], block_hash)
        # 2: sigmoid.
        transfer = reply["weights_su.nonce"], reply["weights_su.extension"]
        columns = np.ascontiguousarray(batch.T)
        sent, own = _send(session, secrets, "forward", step.forward, transfer, bits, columns)
        inputs = {"scores_mu": word_bits((scores + own).reshape(-1), SCORE_BITS)}
        chosen = choose(session, secrets, "scores", Sigmoid().choices(step.scores, inputs), sent[1])
        reply = split_sections((yield (*sent, *chosen.sections)), sigmoid, "reply")
        garbled = reply["sigmoid.salt"], reply["sigmoid.tables"]
        (found,) = evaluate_shares(session, Sigmoid(), step.scores, chosen.rows, garbled)
        # 3: gradient. MU is the sender first, then the receiver.
        errors = step.errors(found, labels)
        transfer = reply["errors_su.nonce"], reply["errors_su.extension"]
        sent, own = _send(session, secrets, "gradient", step.backward, transfer, errors, batch)
        chosen = choose(session, secrets, "errors", step.backward.choices(errors), sent[1])
        reply = split_sections((yield (*sent, *chosen.sections)), gradient, "reply")
        block_hash = session.reply_hash("gradient", reply["gradient.salt"])
        taken = chosen.rows.take(step.backward.rows)
        gradients = own + step.backward.receive(taken, reply["gradient.words"], block_hash)
        gradients += step.sums(batch)
        # 4: update.
        inputs = {
            "gradient_mu": step.gradient_bits(gradients),
            "state": weights[..., np.newaxis],
            "overflow": overflow,
        }
        chosen = choose(session, secrets, "gradients", step.update.choices(1, inputs))
        reply = split_sections((yield chosen.sections), update, "reply")
        garbled = tuple(data for name, data in reply.items() if name != "sealed")
        results = evaluate_shares(
            session, step.update, 1, chosen.rows, garbled, _REVEALED if step.last else ()
        )
        weights, overflow = results[0][..., 0], results[1]
    return _sealed_state(session, shape, state, (results[0], results[1]), reply["sealed"], pool)


def _sealed_state(
    session: Session,
    shape: TrainingShape,
    state: LogisticState,
    results: tuple[Bits, Bits],
    sealed: bytes,
    pool: ThreadPoolExecutor | None,
) -> LogisticState:
    words, overflow = results
    if overflow.any():
        raise WeightOverflowError("a weight would have left its range: the chunk is rejected")
    tenant = session.tenant
    shares = bits_words(words, np.uint32).reshape(-1)
    from_peer = decode_ciphertexts(tenant.parameters, sealed)
    coins = session.coins("seal", sealed, array_bytes(shares))
    fresh = seal_master(tenant.service_key, shape.model.state, from_peer, shares.tolist(), coins, pool)
    return LogisticState(state.steps + len(shape.steps), state.records + shape.rows, tuple(fresh))


def learn_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: TrainingShape,
    pool: ThreadPoolExecutor | None = None,
) -> SecondaryProgram[None]:
    """Run SU's half of a training session.

    Security:
        SU sees the masked plaintexts S, which are 2^-80-close to uniform, and shares; of the
        outcome not even the overflow bit.
    """
    request: Sections = yield ()
    opened, reply = open_secondary(session, secrets, shape.opening, request, {}, pool)
    labels = opened.labels(shape.opening)
    weights, overflow = opened.state, np.zeros((1, 1), dtype=np.uint8)
    matrix = np.zeros((0, 0), dtype=np.uint32)
    for step in shape.steps:
        forward, sigmoid, gradient, update = shape.round_trips(step)
        request = yield reply
        # 1: forward.
        fields = split_sections(request, forward, "request")
        bits = weights[FORWARD_SHIFT:, -1]
        transfer = fields["weights_mu.nonce"], fields["weights_mu.extension"]
        size = step.forward.rows + (shape.opening.converted if step.first else 0)
        rows = chosen_rows(secrets, transfer, size)
        reply = ()
        if step.first:
            salt = session.salt("convert", array_bytes(opened.converted(shape.opening), opened.digits))
            taken = rows.take(shape.opening.converted)
            block_hash = session.reply_hash("convert", salt)
            matrix, corrections = convert_secondary(shape.opening, opened, taken, block_hash)
            reply = (salt, corrections)
        batch = np.ascontiguousarray(matrix[step.start : step.stop])
        columns = np.ascontiguousarray(batch.T)
        salt = session.salt("forward", array_bytes(bits, columns))
        block_hash = session.reply_hash("forward", salt)
        scores, corrections = step.forward.send(rows.take(step.forward.rows), bits, columns, block_hash)
        chosen = choose(session, secrets, "weights", step.forward.choices(bits), corrections)
        request = yield (*reply, salt, corrections, *chosen.sections)
        # 2: sigmoid.
        fields = split_sections(request, sigmoid, "request")
        scores = scores + _received(session, "forward", step.forward, chosen, fields)
        rows = chosen_rows(
            secrets, (fields["scores.nonce"], fields["scores.extension"]), Sigmoid().choice_count(step.scores)
        )
        own_bits = {"scores_su": word_bits(scores.reshape(-1), SCORE_BITS)}
        delta = secrets.sender.delta
        garbled, (found,) = garble_shares(
            session, "garble sigmoid", Sigmoid(), step.scores, rows, own_bits, delta
        )
        errors = step.errors(found, labels)
        chosen = choose(session, secrets, "errors", step.backward.choices(errors), garbled[0])
        request = yield (*garbled, *chosen.sections)
        # 3: gradient.
        fields = split_sections(request, gradient, "request")
        gradients = _received(session, "gradient", step.backward, chosen, fields)
        rows = chosen_rows(
            secrets, (fields["errors_mu.nonce"], fields["errors_mu.extension"]), step.backward.rows
        )
        salt = session.salt("gradient", array_bytes(errors, batch))
        block_hash = session.reply_hash("gradient", salt)
        own, corrections = step.backward.send(rows.take(step.backward.rows), errors, batch, block_hash)
        gradients = gradients + own + step.sums(batch)
        request = yield (salt, corrections)
        # 4: update.
        fields = split_sections(request, update, "request")
        own_bits = {
            "gradient_su": step.gradient_bits(gradients),
            "state": weights[..., np.newaxis],
            "overflow": overflow,
        }
        masks = np.zeros(0, dtype=np.uint32)
        if step.last:
            # SU's share of the state: used nowhere else, so that what MU reads is uniform.
            hidden = array_bytes(gradients, weights, overflow)
            masks = session.coins("state share", b"", hidden).words(shape.model.state.values, np.uint32)
            own_bits["mask"] = word_bits(masks.reshape(weights.shape[1:]), WORD_BITS)[..., np.newaxis]
        rows = chosen_rows(
            secrets, (fields["gradients.nonce"], fields["gradients.extension"]), step.update.choice_count(1)
        )
        reply, results = garble_shares(
            session, "garble update", step.update, 1, rows, own_bits, delta, _REVEALED if step.last else ()
        )
        weights, overflow = results[0][..., 0], results[1]
        if step.last:
            tenant = session.tenant
            coins = session.coins("seal", b"", array_bytes(masks))
            sealed = seal_secondary(tenant.service_key, shape.model.state, masks.tolist(), coins, pool)
            reply = (*reply, encode_ciphertexts(tenant.parameters, sealed))
    yield reply


def _send(
    session: Session,
    secrets: UnitSecrets,
    name: str,
    products: NumberProducts,
    transfer: Sections,
    bits: Bits,
    matrix: Words,
) -> tuple[Sections, Words]:
    """Return MU's salt and corrections for SU's choices, and MU's shares."""
    rows = chosen_rows(secrets, transfer, products.rows).take(products.rows)
    salt = session.salt(name, array_bytes(bits, matrix))
    shares, corrections = products.send(rows, bits, matrix, session.request_hash(name, salt))
    return (salt, corrections), shares


def _received(
    session: Session, name: str, products: NumberProducts, chosen: Chosen, fields: dict[str, bytes]
) -> Words:
    """Return SU's shares of the products with MU's matrix."""
    block_hash = session.request_hash(name, fields[f"{name}.salt"])
    return products.receive(chosen.rows.take(products.rows), fields[f"{name}.words"], block_hash)
