"""Priv-LR: the public shape of a model, and how both units open state and records.

Every session begins alike (docs/protocols.md §6): step *open* turns the sealed weights into bit
shares and starts the conversion of records, step *forward* ends it, together with the first
product. What a training session or a query adds to that is in modules of their own.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from crypto.block_hash import SALT_BYTES
from crypto.circuits.logistic import FORWARD_WORD_BITS
from crypto.circuits.opened import OpenedState
from crypto.coins import Coins, digest
from crypto.dtpkc import Ciphertext
from crypto.errors import LayoutError, LocalProtocolError
from crypto.packing import SlotLayout
from roles.building_blocks.garble import shared_sections
from roles.building_blocks.narrow_words import CARRIES, narrow_layout
from roles.building_blocks.state_words import public_state, state_layout
from roles.building_blocks.transfers import transfer_sections
from roles.classifiers.logistic_regression_schedule import FORWARD_SHIFT, WEIGHT_BITS, LogisticSchedule
from roles.plan import Section, Sections, Step
from roles.tenant import Tenant
from roles.word_encoding import numeric_columns
from schemas.data_schema import DataSchema

MAX_WEIGHTS = 8192
"""Of a problem. What the check of Σ|w| leaves out is below 2^−6 per weight: 128 in all, so |z| < 2^9."""

MAX_STEP_BYTES = 60 << 20
"""Largest request or reply that a session may plan; envelopes carry bodies up to 64 MiB in parts."""


@dataclass(frozen=True, slots=True)
class LogisticRecords:
    """The public columns of a record.

    Attributes:
        words: Scaled numbers, published as narrow words.
        attribute_sizes: Values or bins of every attribute published as one-hot `bits`.
        used_attributes: Which of these are features, ascending; the others are left alone.
        classes: C ≥ 2; training bits end with the one-hot class.
    """

    words: int
    attribute_sizes: tuple[int, ...]
    used_attributes: tuple[int, ...]
    classes: int

    def __post_init__(self) -> None:
        """Refuse records without features, or columns that are not there."""
        if self.words < 0 or self.classes < 2 or any(size < 1 for size in self.attribute_sizes):
            raise LocalProtocolError("a record has columns and at least two classes")
        if list(self.used_attributes) != sorted(set(self.used_attributes) & set(self._attributes)):
            raise LocalProtocolError("a feature is no attribute of the record")
        if not 1 <= self.features < MAX_WEIGHTS:
            raise LocalProtocolError(f"a record has 1 to {MAX_WEIGHTS - 1} features")

    @classmethod
    def of_schema(
        cls, schema: DataSchema, *, scaled: bool, bit_attributes: tuple[int, ...] | None = None
    ) -> "LogisticRecords":
        """Return the columns of a schema's records.

        Args:
            schema: The tenant's.
            scaled: Numeric attributes are features as words; else everything is a feature as bits.
            bit_attributes: Attributes published as `bits`; None for just those that are features.
        """
        numeric = numeric_columns(schema) if scaled else ()
        features = tuple(index for index in range(len(schema.attributes)) if index not in numeric)
        published = features if bit_attributes is None else bit_attributes
        sizes = tuple(schema.attribute_sizes[index] for index in published)
        used = tuple(place for place, index in enumerate(published) if index in features)
        return cls(len(numeric), sizes, used, schema.class_count)

    @property
    def _attributes(self) -> range:
        return range(len(self.attribute_sizes))

    @property
    def query_bits(self) -> int:
        """Bits of a record without its class."""
        return sum(self.attribute_sizes)

    @property
    def bit_columns(self) -> tuple[int, ...]:
        """Columns of the bits that are features."""
        starts = (0, *accumulate(self.attribute_sizes))
        return tuple(
            column
            for attribute in self.used_attributes
            for column in range(starts[attribute], starts[attribute + 1])
        )

    @property
    def features(self) -> int:
        """d: words first, then bits; the constant comes behind them."""
        return self.words + len(self.bit_columns)

    @property
    def problems(self) -> int:
        """K: one problem "class 1" for two classes, else one per class."""
        return 1 if self.classes == 2 else self.classes

    @property
    def label_columns(self) -> tuple[int, ...]:
        """Columns of a training record's bits that say whether a problem's class is meant."""
        first = self.query_bits
        return (first + 1,) if self.problems == 1 else tuple(range(first, first + self.classes))


@dataclass(frozen=True)
class LogisticShape:
    """The public shape of a model.

    Attributes:
        tenant: Public facts.
        records: Columns of a record.
        schedule: How it learns.
    """

    tenant: Tenant
    records: LogisticRecords
    schedule: LogisticSchedule

    @property
    def problems(self) -> int:
        """K."""
        return self.records.problems

    @property
    def weights(self) -> int:
        """Weights of a problem: d + 1."""
        return self.records.features + 1

    @property
    def blocks(self) -> int:
        """Vectors of weights that make the state: weights, and with momentum where they lead."""
        return 2 if self.schedule.momentum_16 else 1

    @property
    def columns(self) -> int:
        """Columns of records that are bits."""
        return len(self.records.bit_columns)

    @property
    def number_columns(self) -> tuple[int, ...]:
        """Columns that are numbers: words, and the constant behind everything."""
        return (*range(self.records.words), self.weights - 1)

    @property
    def parameters(self) -> tuple[int | tuple[int, ...], ...]:
        """The numbers that every plan of the model follows from."""
        records = self.records
        return (
            records.words,
            records.attribute_sizes,
            records.used_attributes,
            records.classes,
            self.schedule.parameters,
        )

    @cached_property
    def state(self) -> SlotLayout:
        """Of the sealed state: (block, problem, feature), the constant's weight last."""
        values = self.blocks * self.problems * self.weights
        return state_layout(self.tenant.modulus_bits, "weights", values)

    def words_layout(self, rows: int) -> SlotLayout | None:
        """Of the narrow words of so many records, record after record; None without words."""
        values = rows * self.records.words
        return narrow_layout(self.tenant.modulus_bits, values) if values else None

    def bits_layout(self, rows: int, *, labelled: bool) -> SlotLayout | None:
        """Of the bits of so many records, with or without their class; None without bits."""
        values = rows * (self.records.query_bits + self.records.classes * labelled)
        if not values:
            return None
        return self.tenant.bits_layout(values)


@dataclass(frozen=True, slots=True)
class LogisticState:
    """A model at rest.

    Attributes:
        steps: Steps made; public.
        ciphertexts: The sealed state.
    """

    steps: int
    ciphertexts: tuple[Ciphertext, ...] = field(repr=False)

    @classmethod
    def empty(cls, shape: LogisticShape, model_id: str) -> "LogisticState":
        """Return a model with all weights 0, encrypted under public coins."""
        tenant = shape.tenant
        key = digest("privml/lr-empty/1", tenant.name, tenant.digest, tenant.key_epoch, model_id)
        return cls(0, public_state(tenant.service_key, shape.state, Coins(key)))

    @property
    def public_ciphertexts(self) -> tuple[Ciphertext, ...]:
        """The sealed state: what a version's hash is over."""
        return self.ciphertexts


@dataclass(frozen=True)
class OpeningShape:
    """What the first two steps of a session open.

    Attributes:
        model: The model.
        rows: n, records.
        training: Records carry their class, all blocks of the state are wanted, and SU gets T2
            of the records from MU; else they are a client's rows, of which SU has its own copy.
    """

    model: LogisticShape
    rows: int
    training: bool

    @property
    def values(self) -> int:
        """Words of the state that are wanted: all of them, or just the weights."""
        blocks = self.model.blocks if self.training else 1
        return blocks * self.model.problems * self.model.weights

    @cached_property
    def state(self) -> SlotLayout:
        """Of the part of the state that is opened."""
        return state_layout(self.model.tenant.modulus_bits, "weights", self.values)

    @cached_property
    def words(self) -> SlotLayout | None:
        """Of the records' narrow words."""
        return self.model.words_layout(self.rows)

    @cached_property
    def bits(self) -> SlotLayout | None:
        """Of the records' bits."""
        return self.model.bits_layout(self.rows, labelled=self.training)

    @property
    def state_circuit(self) -> OpenedState:
        """The adder that re-opens the state; with words of the weights where records have bits."""
        if not self.model.columns:
            return OpenedState(WEIGHT_BITS)
        return OpenedState(WEIGHT_BITS, FORWARD_WORD_BITS, FORWARD_SHIFT)

    @property
    def choices(self) -> int:
        """MU's choices in step *open*: digits of state and words, carries of bits."""
        words = CARRIES.choice_count(self.words.values) if self.words else 0
        return self.state_circuit.choice_count(self.values) + words + (self.bits.values if self.bits else 0)

    @property
    def carries(self) -> int:
        """Carries of narrow words, which become words in step *forward*."""
        return self.rows * self.model.records.words

    @property
    def feature_bits(self) -> int:
        """Bits of all records that are features, extended once in either direction."""
        return self.rows * self.model.columns

    @cached_property
    def open_step(self) -> Step:
        """Return the step in which ciphertexts become shares."""
        width = self.model.tenant.parameters.component_bytes
        request = [Section("state.masked", width * self.state.ciphertexts)]
        request.append(Section("state.t2", width * self.state.ciphertexts))
        revealed = self.state_circuit.word_bits * self.values
        reply = [*shared_sections(self.state_circuit, self.values, "state", revealed)]
        for name, layout in (("words", self.words), ("bits", self.bits)):
            if layout is None:
                continue
            request.append(Section(f"{name}.masked", width * layout.ciphertexts))
            if self.training:
                request.append(Section(f"{name}.t2", width * layout.ciphertexts))
        if self.words is not None:
            reply += shared_sections(CARRIES, self.words.values, "words")
        if self.bits is not None:
            reply += [Section("bits.salt", SALT_BYTES), Section("bits.carries", -(-self.bits.values // 8))]
        request += transfer_sections(self.choices, "digits")
        return Step("open", ("open", "garble"), tuple(request), tuple(reply))


def check_step_sizes(steps: tuple[Step, ...]) -> None:
    """Refuse a session whose messages would not travel.

    Raises:
        LayoutError: A request or reply is larger than 60 MiB.
    """
    for step in steps:
        for sections in (step.request, step.reply):
            if sum(section.size for section in sections) > MAX_STEP_BYTES:
                raise LayoutError(f"step '{step.name}' is too large: take fewer records per step or chunk")


def split_sections(sections: Sections, step: Step, kind: str) -> dict[str, bytes]:
    """Return the sections of a message by their names in the plan."""
    planned = step.request if kind == "request" else step.reply
    return {section.name: data for section, data in zip(planned, sections, strict=True)}
