"""Priv-NB, refresh: encrypted counts become word shares of the table of logarithms.

One round trip, lazily, before the first query after an update (docs/protocols.md §5). MU masks
the model, SU opens the masked counts and garbles log2(256·n + c) − mask for every entry; MU's
shares are the revealed outputs, SU's are the masks, which it recomputes whenever it needs them.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.circuits.logarithm import NaiveBayesTable
from crypto.dtpkc import Ciphertext, encode_ciphertexts
from crypto.errors import RemoteProtocolError
from crypto.packing import SlotLayout, bits_of_words, words_of_bits
from roles.building_blocks.garble import evaluate_garbled, garble_reply, garbled_sections
from roles.building_blocks.multiply import Words
from roles.building_blocks.opening import mask_vector, open_masked
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.classifiers.learner import refresh_subject_of
from roles.classifiers.naive_bayes_twin import score_bits
from roles.plan import Plan, Section, Sections, Step
from roles.session import MasterProgram, SecondaryProgram, Session, model_coins
from roles.tenant import Tenant
from roles.unit_secrets import UnitSecrets
from schemas.rounds import Subject

VERSION = 1


@dataclass(frozen=True)
class TableShape:
    """The public shape of a model's table of logarithms.

    Attributes:
        tenant: Public facts: schema, limits.
        alpha_256: α times 256.
        records: Records in the model; fixes the width of its counts.
    """

    tenant: Tenant
    alpha_256: int
    records: int

    @cached_property
    def score_width(self) -> int:
        """W: bits of scores and table entries; the same for every version of the model."""
        total_bits = self.tenant.configuration.limits.max_total_records.bit_length()
        return score_bits(len(self.tenant.schema.attribute_sizes), total_bits)

    @cached_property
    def dtype(self) -> type[np.uint32] | type[np.uint64]:
        """The word type whose ring the shares live in (their low W bits count)."""
        return np.uint32 if self.score_width <= 32 else np.uint64

    @cached_property
    def entries(self) -> tuple[tuple[int, int], ...]:
        """Every logarithm as (index of the count, constant c), in three runs.

        First n_fc with c = a, in layout order; then n_c with c = a·V for each distinct V,
        ascending; then n_c with c = 0, the priors.
        """
        features, classes = self.tenant.schema.onehot_columns, self.tenant.schema.class_count
        alpha = self.alpha_256
        totals = range(features * classes, (features + 1) * classes)
        return (
            *((index, alpha) for index in range(features * classes)),
            *((index, alpha * size) for size in self.distinct_sizes for index in totals),
            *((index, 0) for index in totals),
        )

    @cached_property
    def distinct_sizes(self) -> tuple[int, ...]:
        """The distinct attribute sizes V, ascending."""
        return tuple(sorted(set(self.tenant.schema.attribute_sizes)))

    @cached_property
    def circuit(self) -> NaiveBayesTable:
        """The circuit of all entries; the batch is the entries."""
        return NaiveBayesTable(
            count_bits=max(1, self.records.bit_length()),
            constants=tuple(constant for _, constant in self.entries),
            output_bits=self.score_width,
            zero_value=-(1 << (self.score_width - 2)),
        )

    @cached_property
    def layout(self) -> SlotLayout:
        """Of the model's counts."""
        return self.tenant.counts_layout(self.records)

    @cached_property
    def plan(self) -> Plan:
        """The refresh session: one step."""
        parameters = self.tenant.parameters
        count = len(self.entries)
        width = parameters.component_bytes * self.layout.ciphertexts
        step = Step(
            "logarithms",
            ("open", "garble"),
            (
                Section("masked", width),
                Section("t2", width),
                *transfer_sections(self.circuit.choice_count(count)),
            ),
            garbled_sections(self.circuit, count, self.score_width),
        )
        return Plan("naive_bayes.refresh", VERSION, (self.circuit.digest(), self.layout.statement), (step,))

    def digits(self, digit_bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the low b + 1 bits of every entry's count digit, shape (b + 1, entries)."""
        indices = [index for index, _ in self.entries]
        return np.ascontiguousarray(digit_bits[indices, : self.circuit.count_bits + 1].T)

    def table(self, logarithms: npt.NDArray[np.uint64]) -> "TableShare":
        """Return one unit's share of the table from its shares of the logarithms.

        T_fc = log2(256·n_fc + a) − log2(256·n_c + a·V): a subtraction of shares.
        """
        schema = self.tenant.schema
        features, classes = schema.onehot_columns, schema.class_count
        shares: Words = logarithms.astype(self.dtype)
        per_feature = shares[: features * classes].reshape(features, classes)
        per_size = shares[features * classes : -classes].reshape(len(self.distinct_sizes), classes)
        sizes = np.repeat(
            [self.distinct_sizes.index(size) for size in schema.attribute_sizes], schema.attribute_sizes
        )
        return TableShare(per_feature - per_size[sizes], shares[-classes:])


@dataclass(frozen=True, slots=True, eq=False)
class TableShare:
    """One unit's word shares of the table.

    Attributes:
        entries: Shares of T, shape (F, C).
        priors: Shares of log2(256·n_c), shape (C,); the common −log2(256·n) changes no answer.
    """

    entries: Words = field(repr=False)
    priors: Words = field(repr=False)


def refresh_master(
    session: Session,
    secrets: UnitSecrets,
    shape: TableShape,
    model: Sequence[Ciphertext],
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[TableShare]:
    """Run MU's half of a refresh and return its share of the table.

    Args:
        session: This model's.
        secrets: MU's.
        shape: Of the table.
        model: [2·counts], in layout order.
        pool: Threads for the powers.

    Cost:
        One short power per ciphertext at each unit; entries·(b + 1) transfers; about 500 gates
        per entry; one round trip.
    """
    parameters, count = session.tenant.parameters, len(shape.entries)
    public = encode_ciphertexts(parameters, model)
    coins = session.coins("mask", public)
    masked = mask_vector(parameters, shape.layout, model, secrets.theta, coins, pool)
    choices = shape.circuit.choices(count, {"digits_mu": shape.digits(masked.digits)})
    chosen = choose(session, secrets, "digits", choices, masked.masked)
    width = parameters.component_bytes
    t2s = b"".join(ciphertext.t2.to_bytes(width, "big") for ciphertext in model)
    reply = yield (masked.masked, t2s, *chosen.sections)
    (revealed,) = evaluate_garbled(session, shape.circuit, count, chosen.rows, reply)
    return shape.table(words_of_bits(np.ascontiguousarray(revealed.T)))


def refresh_secondary(
    session: Session, secrets: UnitSecrets, shape: TableShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half of a refresh."""
    parameters, circuit, count = session.tenant.parameters, shape.circuit, len(shape.entries)
    request: Sections = yield ()
    masked, t2_bytes, *transfer = request
    t2s = _components(t2_bytes, parameters.component_bytes, parameters.n_squared)
    digits = open_masked(parameters, shape.layout, masked, t2s, secrets.theta, pool)
    rows = chosen_rows(secrets, transfer, circuit.choice_count(count))
    mask = _mask_words(secrets, shape, session.subject)
    own = {
        "digits_su": shape.digits(digits),
        "mask": np.ascontiguousarray(bits_of_words(mask, shape.score_width).T),
    }
    yield garble_reply(session, circuit, count, rows, own, secrets.sender.delta)


def table_share_secondary(secrets: UnitSecrets, shape: TableShape, subject: Subject) -> TableShare:
    """Return SU's share of a model's table: coins of the refresh session's name, circuit and plan.

    No process of SU needs to have seen the refresh: each recomputes the same words.

    Args:
        secrets: SU's.
        shape: Of the table.
        subject: Of the refresh, or of a query that the refreshed model answers.
    """
    return shape.table(_mask_words(secrets, shape, refresh_subject_of(subject)))


def _mask_words(secrets: UnitSecrets, shape: TableShape, refresh: Subject) -> npt.NDArray[np.uint64]:
    coins = model_coins(secrets.seed, shape.tenant, shape.plan, refresh)
    words = coins.words(len(shape.entries), np.uint64)
    return words & np.uint64((1 << shape.score_width) - 1)


def _components(data: bytes, width: int, bound: int) -> Sequence[int]:
    values = [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
    if any(not 0 < value < bound for value in values):
        raise RemoteProtocolError("a component is out of range")
    return values
