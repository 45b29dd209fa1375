"""What can be said of a message of an owner or a client by itself, whatever came before it.

The checks are the master unit's own. What depends on earlier messages (repetition, capacity, how
much the model holds) is left to whoever knows the state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from crypto.errors import PrivMLError
from roles.arrival import Arrival, Refused
from roles.master_unit import MasterUnit
from roles.refusal import refusal_reason
from roles.screening import ScreenedChunk, ScreenedQuery, failing_proofs
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.reasons import ReasonCode
from schemas.topics import TopicName


@dataclass(frozen=True, slots=True)
class Judged:
    """A message and what its own bytes say.

    Attributes:
        arrival: The message.
        screened: What it holds; None if it could not be read that far.
        reason: Why it is refused whatever the state; None if nothing speaks against it.
    """

    arrival: Arrival
    screened: ScreenedChunk | ScreenedQuery | Withdrawal | None
    reason: ReasonCode | None


def impartial_unit(tenant: Tenant) -> MasterUnit:
    """Return a unit that has seen no message and whose models may answer: it judges by content alone."""
    limits = tenant.configuration.limits
    owners = MappingProxyType({str(number): 1 for number in range(limits.min_owners)})
    unit = MasterUnit.starting(tenant)
    for kept in unit.models.values():
        kept.model = replace(kept.model, records=limits.min_records, records_of=owners)
    return unit


def judge_messages(
    impartial: MasterUnit, messages: Sequence[Arrival | Refused], *, proofs: bool = True
) -> list[Judged]:
    """Judge messages of the chunks and queries topics, their proofs all together.

    Args:
        impartial: From `impartial_unit`; nothing is folded into it.
        messages: As an inbox gives them.
        proofs: Whether to verify the proofs of plaintext knowledge.

    Cost:
        Per ciphertext two Jacobi symbols, and with proofs two bases of a multi-exponentiation;
        a bad proof costs about three batches more.
    """
    judged = [_screened(impartial, message) for message in messages]
    if not proofs:
        return judged
    proven = [
        (index, item.screened.statement)
        for index, item in enumerate(judged)
        if isinstance(item.screened, ScreenedChunk | ScreenedQuery)
    ]
    for position in failing_proofs(impartial.tenant, [statement for _, statement in proven]):
        index = proven[position][0]
        judged[index] = replace(judged[index], reason=ReasonCode.BAD_PROOF)
    return judged


def _screened(impartial: MasterUnit, message: Arrival | Refused) -> Judged:
    if isinstance(message, Refused):
        return Judged(message.arrival, None, ReasonCode(message.reason))
    if message.topic == TopicName.CONFIG:
        # What it may change depends on the version in force; see `roles.enrolment`.
        return Judged(message, None, None)
    screen = impartial.screen_query if message.topic == TopicName.QUERIES else impartial.screen_chunk
    try:
        return Judged(message, screen(message), None)
    except PrivMLError as error:
        return Judged(message, None, refusal_reason(error))
