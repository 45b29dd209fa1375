"""What can be said of a message of an owner or a client by itself, whatever came before it.

The checks are the master unit's own. What depends on earlier messages (repetition, capacity, how
much the model holds) is left to whoever knows the state.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType

from crypto.errors import PrivMLError
from roles.arrival import Arrival, Refused
from roles.master_unit import MasterUnit
from roles.refusal import refusal_reason
from roles.screening import Proven, ScreenedChunk, ScreenedQuery, failing_proofs
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

_Proven = ScreenedChunk | ScreenedQuery


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
    judged = screen_messages(impartial, messages)
    if not proofs:
        return judged
    return with_bad_proofs(judged, failing_proofs(claims_of(judged)))


def screen_messages(impartial: MasterUnit, messages: Sequence[Arrival | Refused]) -> list[Judged]:
    """Judge messages by all but their proofs; see `judge_messages`."""
    return [_screened(impartial, message) for message in messages]


def claims_of(judged: Sequence[Judged]) -> list[Proven]:
    """Return key and statement of each proof, of those messages that have got that far."""
    return [item.screened.proven for item in judged if isinstance(item.screened, _Proven)]


def with_bad_proofs(judged: Sequence[Judged], failing: Collection[int]) -> list[Judged]:
    """Return the same judgements after the proofs: of these statements they fail."""
    numbers = count()
    return [
        replace(item, reason=ReasonCode.BAD_PROOF)
        if isinstance(item.screened, _Proven) and next(numbers) in failing
        else item
        for item in judged
    ]


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
