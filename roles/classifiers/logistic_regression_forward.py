"""Priv-LR, the step *forward*: z = X·w for the records of a batch, or of a query.

The first of a session also ends the opening: carries of narrow words become words, and both units
extend their shares of the records' bits, whose rows then serve all passes. MU's own part of the
product travels with the request after, so that the step is one round trip.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.correlated_ot import receive_words, send_bit_products
from crypto.ot_extension import ReceivedRows, SentRows
from roles.building_blocks.narrow_words import words_of_master, words_of_secondary
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.classifiers.logistic_regression_opening import OpenedShares, WeightShares
from roles.classifiers.logistic_regression_products import RecordProducts, RecordShares, sent_sections
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE
from roles.classifiers.logistic_regression_shape import LogisticShape, OpeningShape, split_sections
from roles.plan import Section, Sections, Step
from roles.session import Session, array_bytes
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class ForwardShape:
    """The public shape of one such step.

    Attributes:
        opening: What the session opened.
        start: First record of the batch.
        stop: Behind the last one.
        first: The first of the session.
    """

    opening: OpeningShape
    start: int
    stop: int
    first: bool

    @property
    def model(self) -> LogisticShape:
        """The model."""
        return self.opening.model

    @property
    def carries(self) -> int:
        """Carries that become words."""
        return self.opening.carries if self.first else 0

    @property
    def feature_bits(self) -> int:
        """Bits that are extended."""
        return self.opening.feature_bits if self.first else 0

    @property
    def products(self) -> RecordProducts:
        """Both products over the batch."""
        records = self.model.records
        return RecordProducts(records.problems, records.words, self.model.columns, self.stop - self.start)

    def step(self) -> Step:
        """Return the round trip."""
        rows = self.products.forward.rows
        request: tuple[Section, ...] = transfer_sections(rows, "weights_mu")
        reply: tuple[Section, ...] = transfer_sections(rows, "weights_su")
        if self.feature_bits:
            request = (*transfer_sections(self.feature_bits, "bits_mu"), *request)
            reply = (*transfer_sections(self.feature_bits, "bits_su"), *reply)
        if self.carries:
            request = (*transfer_sections(self.carries, "carries_mu"), *request)
            converted = Section("convert.salt", SALT_BYTES), Section("convert.words", 4 * self.carries)
            reply = (*converted, *reply)
        blocks = ("convert", "multiply") if self.first else ("multiply",)
        return Step("forward", blocks, request, (*reply, *self.products.forward_sections()))


@dataclass(frozen=True, slots=True, eq=False)
class MasterForward:
    """What MU has after the step: all records, the batch, scores (K, n), and what SU is still due."""

    records: RecordShares
    batch: RecordShares
    scores: Words = field(repr=False)
    due: Sections = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SecondaryForward:
    """What SU has after the step: all records, the batch, its scores so far, its rows, its reply."""

    records: RecordShares
    batch: RecordShares
    scores: Words = field(repr=False)
    rows: ReceivedRows = field(repr=False)
    reply: Sections = field(repr=False)

    def complete(self, session: Session, shape: ForwardShape, fields: dict[str, bytes]) -> Words:
        """Return SU's shares of z, shape (K, n), with what MU's next request brought."""
        received = shape.products.receive_forward(
            session, sent_sections(fields, "forward"), self.batch, self.rows
        )
        return self.scores + received


def forward_master(
    session: Session,
    secrets: UnitSecrets,
    shape: ForwardShape,
    weights: WeightShares,
    known: OpenedShares | RecordShares,
) -> Generator[Sections, Sections, MasterForward]:
    """Run MU's half.

    Args:
        session: Where we are.
        secrets: MU's.
        shape: Of the step.
        weights: MU's shares of the model.
        known: What was opened, in the first step; later the records that this one returned.
    """
    products = shape.products
    bits = weights.of_numbers(shape.model)
    sections: Sections = ()
    carries = features = None
    if isinstance(known, OpenedShares):
        if shape.carries:
            carries = choose(session, secrets, "carries", known.carries)
            sections = carries.sections
        if shape.feature_bits:
            features = choose(session, secrets, "bits", known.features(shape.model).reshape(-1))
            sections = (*sections, *features.sections)
    chosen = choose(session, secrets, "weights", products.forward.choices(bits))
    reply = split_sections((yield (*sections, *chosen.sections)), shape.step(), "reply")
    if isinstance(known, OpenedShares):
        words = np.zeros((shape.opening.rows, 0), dtype=np.uint32)
        if carries is not None and shape.opening.words is not None:
            taken = carries.rows.take(shape.carries)
            block_hash = session.reply_hash("convert", reply["convert.salt"])
            betas = receive_words(taken, reply["convert.words"], 1, np.uint32, block_hash)
            words = words_of_master(shape.opening.words, known.digits, betas[:, 0])
        own, peer = _no_rows(secrets)
        if features is not None:
            transfer = reply["bits_su.nonce"], reply["bits_su.extension"]
            own = features.rows.take(shape.feature_bits)
            peer = chosen_rows(secrets, transfer, shape.feature_bits).take(shape.feature_bits)
        known = RecordShares(_with_constant(shape, words, 0), known.features(shape.model), own, peer)
    batch = known.batch(shape.start, shape.stop)
    rows = products.forward.rows
    sent = sent_sections(reply, "forward")
    scores = products.receive_forward(session, sent, batch, chosen.rows.take(rows))
    transfer = reply["weights_su.nonce"], reply["weights_su.extension"]
    peer_rows = chosen_rows(secrets, transfer, rows).take(rows)
    due, own_scores = products.send_forward(session, bits, weights.led, batch, peer_rows)
    return MasterForward(known, batch, scores + own_scores, due)


def forward_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: ForwardShape,
    weights: WeightShares,
    known: OpenedShares | RecordShares,
    request: Sections,
) -> SecondaryForward:
    """Answer the step (SU); arguments as `forward_master`, and MU's request."""
    products = shape.products
    fields = split_sections(request, shape.step(), "request")
    bits = weights.of_numbers(shape.model)
    reply: Sections = ()
    if isinstance(known, OpenedShares):
        words = np.zeros((shape.opening.rows, 0), dtype=np.uint32)
        if shape.opening.words is not None:
            transfer = fields["carries_mu.nonce"], fields["carries_mu.extension"]
            taken = chosen_rows(secrets, transfer, shape.carries).take(shape.carries)
            salt = session.salt("convert", array_bytes(known.carries))
            block_hash = session.reply_hash("convert", salt)
            ones = np.ones((shape.carries, 1), dtype=np.uint32)
            betas, corrections = send_bit_products(taken, known.carries, ones, block_hash)
            words = words_of_secondary(shape.opening.words, known.digits, betas[:, 0])
            reply = (salt, corrections)
        own, peer = _no_rows(secrets)
        features = known.features(shape.model)
        if shape.feature_bits:
            transfer = fields["bits_mu.nonce"], fields["bits_mu.extension"]
            peer = chosen_rows(secrets, transfer, shape.feature_bits).take(shape.feature_bits)
            chosen = choose(session, secrets, "bits", features.reshape(-1))
            own = chosen.rows.take(shape.feature_bits)
            reply = (*reply, *chosen.sections)
        known = RecordShares(_with_constant(shape, words, FEATURE_ONE), features, own, peer)
    batch = known.batch(shape.start, shape.stop)
    rows = products.forward.rows
    transfer = fields["weights_mu.nonce"], fields["weights_mu.extension"]
    peer_rows = chosen_rows(secrets, transfer, rows).take(rows)
    chosen = choose(session, secrets, "weights", products.forward.choices(bits))
    sent, scores = products.send_forward(session, bits, weights.led, batch, peer_rows)
    reply = (*reply, *chosen.sections, *sent)
    return SecondaryForward(known, batch, scores, chosen.rows.take(rows), reply)


def _with_constant(shape: ForwardShape, words: Words, one: int) -> Words:
    """Return word shares of all numbers; the constant is 1.0 at SU and 0 at MU."""
    rows = shape.opening.rows
    return np.concatenate([words.reshape(rows, -1), np.full((rows, 1), one, dtype=np.uint32)], axis=1)


def _no_rows(secrets: UnitSecrets) -> tuple[ReceivedRows, SentRows]:
    blocks = np.zeros((0, 2), dtype=np.uint64)
    delta = np.frombuffer(secrets.sender.delta, dtype=np.uint64)
    return ReceivedRows(blocks, np.zeros(0, dtype=np.uint8)), SentRows(blocks, delta)
