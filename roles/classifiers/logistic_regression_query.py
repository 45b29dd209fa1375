"""Priv-LR, predict: encrypted rows become classes sealed under the client's key.

Three round trips, shared by all rows of a query (docs/protocols.md §6):

1. *open*: weights and bits become bit shares, narrow words meet the comparison of their carries;
2. *forward*: the rows become word shares, and z = X·w;
3. *decide*: a garbled circuit checks that the bits are one-hot and takes sign or argmax, on demand
   the probabilities as well; SU's share leaves under the client's key, and MU adds its own.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto.circuits.logistic import SCORE_BITS, LogisticAnswer
from crypto.circuits.words import bits_words, word_bits
from crypto.dtpkc import Ciphertext, PublicKey, decode_ciphertexts, encode_ciphertexts
from crypto.packing import SlotLayout
from roles.building_blocks.garble import evaluate_garbled, garble_reply, garbled_sections
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.building_blocks.transfers import choose, chosen_rows, transfer_sections
from roles.classifiers.logistic_regression_forward import ForwardShape, forward_master, forward_secondary
from roles.classifiers.logistic_regression_opening import EncryptedRecords, open_master, open_secondary
from roles.classifiers.logistic_regression_shape import (
    LogisticShape,
    LogisticState,
    OpeningShape,
    check_step_sizes,
    split_sections,
)
from roles.plan import Plan, Section, Sections, Step
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.tenant import LABEL_BITS
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

VERSION = 1


@dataclass(frozen=True)
class QueryShape:
    """The public shape of a query session.

    Attributes:
        model: The model.
        rows: n, rows of the query.
        probabilities: The client also gets m of σ(z) ≈ (m + ½)/512 for every problem.
    """

    model: LogisticShape
    rows: int
    probabilities: bool = False

    @cached_property
    def opening(self) -> OpeningShape:
        """What is opened."""
        return OpeningShape(self.model, self.rows, training=False)

    @cached_property
    def forward(self) -> ForwardShape:
        """Step *forward*, of all rows."""
        return ForwardShape(self.opening, 0, self.rows, first=True)

    @cached_property
    def circuit(self) -> LogisticAnswer:
        """Validity, decision, masked values; the batch is the rows."""
        return LogisticAnswer(
            attribute_sizes=self.model.records.attribute_sizes,
            problems=self.model.problems,
            value_bits=LABEL_BITS,
            probabilities=self.probabilities,
        )

    @cached_property
    def answers(self) -> SlotLayout:
        """Of the sealed values: all labels, then all first probabilities, and so on."""
        return self.model.tenant.label_layout(self.rows * self.circuit.values)

    @cached_property
    def plan(self) -> Plan:
        """The query session: open, forward, decide.

        Raises:
            LayoutError: A message would be too large to travel.
        """
        circuit = self.circuit
        sealed = self.model.tenant.parameters.ciphertext_bytes * self.answers.ciphertexts
        steps = (
            self.opening.open_step,
            self.forward.step(),
            Step(
                "decide",
                ("multiply", "garble", "seal"),
                (
                    *self.forward.products.forward_sections(),
                    *transfer_sections(circuit.choice_count(self.rows), "scores"),
                ),
                (
                    *garbled_sections(circuit, self.rows, LABEL_BITS * circuit.values),
                    Section("sealed", sealed),
                ),
            ),
        )
        check_step_sizes(steps)
        layouts = (self.model.state, self.opening.words, self.opening.bits, self.answers)
        statements = tuple(layout.statement for layout in layouts if layout is not None)
        parameters = (self.rows, self.model.parameters, circuit.digest(), statements)
        return Plan("logistic_regression.query", VERSION, parameters, steps)

    def score_bits(self, scores: Words) -> Bits:
        """Return scores (K, n) as the circuit takes them."""
        return word_bits(scores, SCORE_BITS)


def query_master(
    session: Session,
    secrets: UnitSecrets,
    shape: QueryShape,
    state: LogisticState,
    rows: EncryptedRecords,
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> MasterProgram[list[Ciphertext]]:
    """Run MU's half of a query and return the sealed values.

    Args:
        session: This query's.
        secrets: MU's.
        shape: Of the query.
        state: The model that answers.
        rows: The query's, its proof verified.
        client_key: h_C.
        pool: Threads for the powers.

    Security:
        MU sees shares only; the values that the circuit shows it are masked by SU.

    Cost:
        One short power per ciphertext of state and rows at each unit, two per ciphertext of
        answers; per problem 18 transfers of n words per number and n of one word per bit, in both
        directions; 11 gates per word and 31 per score; three round trips.
    """
    parameters, opening = session.tenant.parameters, shape.opening
    opened = yield from open_master(session, secrets, opening, state.ciphertexts, rows, pool)
    forward = yield from forward_master(session, secrets, shape.forward, opened.weights, opened)
    # 3: decide. MU's corrections of the product go out with its choices.
    inputs = {"scores_mu": shape.score_bits(forward.scores)}
    if opened.bits.size:
        inputs["query"] = np.ascontiguousarray(opened.bits.T)
    choices = shape.circuit.choices(shape.rows, inputs)
    chosen = choose(session, secrets, "scores", choices, forward.due[1])
    decide = shape.plan.steps[-1]
    reply = split_sections((yield (*forward.due, *chosen.sections)), decide, "reply")
    garbled = reply["salt"], reply["tables"], reply["colours"]
    (revealed,) = evaluate_garbled(session, shape.circuit, shape.rows, chosen.rows, garbled)
    shares = bits_words(revealed, np.uint16).reshape(-1)
    from_peer = decode_ciphertexts(parameters, reply["sealed"])
    coins = session.coins("seal", reply["sealed"], array_bytes(shares))
    return seal_master(client_key, shape.answers, from_peer, shares.tolist(), coins, pool)


def query_secondary(
    session: Session,
    secrets: UnitSecrets,
    shape: QueryShape,
    t2s: dict[str, tuple[int, ...]],
    client_key: PublicKey,
    pool: ThreadPoolExecutor | None = None,
) -> SecondaryProgram[None]:
    """Run SU's half of a query.

    Args:
        session: This query's.
        secrets: SU's.
        shape: Of the query.
        t2s: T2 of the query's ``words`` and ``bits``, from SU's own copy of the client's message.
        client_key: h_C.
        pool: Threads for the powers.

    Security:
        SU sees the masked plaintexts S, which are 2^-80-close to uniform, and shares.
    """
    parameters, opening = session.tenant.parameters, shape.opening
    request: Sections = yield ()
    opened, reply = open_secondary(session, secrets, opening, request, t2s, pool)
    request = yield reply
    forward = forward_secondary(session, secrets, shape.forward, opened.weights, opened, request)
    request = yield forward.reply
    # 3: decide. The masks are SU's shares of the answer, used nowhere else.
    fields = split_sections(request, shape.plan.steps[-1], "request")
    scores = forward.complete(session, shape.forward, fields)
    values = (shape.circuit.values, shape.rows)
    mask = session.coins("answer share", b"", array_bytes(scores, opened.bits)).words(values, np.uint16)
    own_bits = {"scores_su": shape.score_bits(scores), "mask": word_bits(mask, LABEL_BITS)}
    if opened.bits.size:
        own_bits["query"] = np.ascontiguousarray(opened.bits.T)
    transfer = fields["scores.nonce"], fields["scores.extension"]
    rows = chosen_rows(secrets, transfer, shape.circuit.choice_count(shape.rows))
    garbled = garble_reply(session, shape.circuit, shape.rows, rows, own_bits, secrets.sender.delta)
    client = client_key.h.to_bytes(parameters.component_bytes, "big")
    coins = session.coins("seal", client, array_bytes(mask))
    sealed = seal_secondary(client_key, shape.answers, mask.reshape(-1).tolist(), coins, pool)
    yield (*garbled, encode_ciphertexts(parameters, sealed))
