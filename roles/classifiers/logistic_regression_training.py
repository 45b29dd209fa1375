"""Priv-LR, learn: steps of gradient descent over a chunk, from sealed weights to sealed weights.

One round trip opens state and records, every step takes four (docs/protocols.md §6). With batches
as large as the chunk a pass over it is one step. Sealing rides on the last reply, beside one bit
that says whether any step overflowed; if so, nothing is sealed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from crypto.dtpkc import decode_ciphertexts, encode_ciphertexts
from crypto.errors import LayoutError
from roles.building_blocks.seal import seal_master, seal_secondary
from roles.classifiers.learner import UnlearnableError
from roles.classifiers.logistic_regression_forward import ForwardShape
from roles.classifiers.logistic_regression_opening import EncryptedRecords, open_master, open_secondary
from roles.classifiers.logistic_regression_shape import (
    LogisticShape,
    LogisticState,
    OpeningShape,
    check_step_sizes,
)
from roles.classifiers.logistic_regression_step import Descent, StepShape, descend_master, descend_secondary
from roles.plan import MAX_STEPS, Plan, Sections
from roles.session import MasterProgram, SecondaryProgram, Session, array_bytes
from roles.unit_secrets import UnitSecrets

VERSION = 1


class WeightOverflowError(UnlearnableError):
    """A weight would have left its range. Nothing of the chunk is sealed; the state is as it was."""

    code = "overflow"


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
        """All steps of gradient descent, in order.

        Raises:
            LayoutError: A step would have too many records, or the session too many round trips.
        """
        schedule = self.model.schedule
        try:
            # Counted before they are listed: limits and batches of a configuration may be anything.
            if 4 * schedule.step_count(self.rows) >= MAX_STEPS:
                raise LayoutError("a chunk takes too many steps: take larger batches, or fewer passes")
            batches = schedule.batches(self.rows)
        except ValueError as error:
            raise LayoutError(str(error)) from error
        last = len(batches) - 1
        return tuple(
            StepShape(
                ForwardShape(self.opening, start, stop, first=index == 0),
                self.steps_before + index,
                last=index == last,
            )
            for index, (start, stop) in enumerate(batches)
        )

    @cached_property
    def plan(self) -> Plan:
        """The session: open, then four round trips per step.

        Raises:
            LayoutError: A message would be too large to travel.
        """
        planned = (self.opening.open_step, *(trip for step in self.steps for trip in step.round_trips))
        check_step_sizes(planned)
        digests = tuple((step.sigmoid.digest(), step.update.digest()) for step in self.steps)
        layouts = (self.model.state, self.opening.words, self.opening.bits)
        statements = tuple(layout.statement for layout in layouts if layout is not None)
        parameters = (self.rows, self.steps_before, self.model.parameters, digests, statements)
        return Plan("logistic_regression.learn", VERSION, parameters, planned)


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
        One short power per ciphertext of records and state at each unit, two more per ciphertext
        of state; 11 gates per word and 24 per weight to open; per step as `descend_master`;
        1 + 4 round trips per step.

    Source:
        Mohassel, Zhang 2017 (SecureML), with exact rounding; docs/protocols.md §6.
    """
    opened = yield from open_master(session, secrets, shape.opening, state.ciphertexts, records, pool)
    descent = Descent.begin(opened, shape.model)
    reply: dict[str, bytes] = {}
    for step in shape.steps:
        descent, reply = yield from descend_master(session, secrets, step, descent)
    if descent.overflow.any():
        raise WeightOverflowError("a weight would have left its range: the chunk is rejected")
    tenant = session.tenant
    from_peer = decode_ciphertexts(tenant.parameters, reply["sealed"])
    coins = session.coins("seal", reply["sealed"], array_bytes(descent.masked))
    shares = descent.masked.tolist()
    fresh = seal_master(tenant.service_key, shape.model.state, from_peer, shares, coins, pool)
    return LogisticState(state.steps + len(shape.steps), tuple(fresh))


def learn_secondary(
    session: Session, secrets: UnitSecrets, shape: TrainingShape, pool: ThreadPoolExecutor | None = None
) -> SecondaryProgram[None]:
    """Run SU's half of a training session.

    Security:
        SU sees the masked plaintexts S, which are 2^-80-close to uniform, and shares; of the
        outcome not even the overflow bit.
    """
    request: Sections = yield ()
    opened, reply = open_secondary(session, secrets, shape.opening, request, {}, pool)
    descent = Descent.begin(opened, shape.model)
    for step in shape.steps:
        request = yield reply
        descent, reply = yield from descend_secondary(session, secrets, step, descent, request)
    tenant = session.tenant
    coins = session.coins("seal", b"", array_bytes(descent.masked))
    sealed = seal_secondary(tenant.service_key, shape.model.state, descent.masked.tolist(), coins, pool)
    yield (*reply, encode_ciphertexts(tenant.parameters, sealed))
