"""What must be true of a model that learns in sessions, whatever went wrong while it learnt."""

from collections import Counter, deque

import numpy as np
from linked_logistic import opened_weights
from simulation.evidence import Evidence, WrongError, id_of
from simulation.offers import LIMITS, offers, records

from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_shape import LogisticState
from roles.twins import PlainLogistic, twin_of
from schemas.journal import EntryKind, Receipt
from schemas.models import LogisticSpec
from schemas.topics import TopicName


def lessons_are_the_twins(evidence: Evidence) -> None:
    """Every accepted chunk has one lesson, in order; it overflows where the twin does; weights are equal."""
    world = evidence.world
    by_id = {id_of(o): o for o in offers(world.models).values() if o.kind is EntryKind.ACCEPT}
    for spec in world.models:
        if not isinstance(spec, LogisticSpec):
            continue
        twin = twin_of(spec, world.home.tenant.schema, LIMITS.max_total_records)
        waiting = deque(e for e, _ in evidence.chain if e.kind == EntryKind.ACCEPT)
        for entry, _ in evidence.chain:
            if entry.kind != EntryKind.LEARNT or entry.model_id != spec.model_id:
                continue
            if not waiting or entry.about != waiting[0].sequence:
                raise WrongError("lessons", f"entry {entry.sequence} is about another chunk than the next")
            taught = by_id[waiting.popleft().message_hash]
            expected = "" if twin.learn(records(taught.values)) else "overflow"
            if entry.reason != expected:
                raise WrongError("lessons", f"{taught.name}: {entry.reason!r}, in the clear {expected!r}")
        if waiting:
            raise WrongError("lessons", f"{len(waiting)} chunks were never learnt")
        assert isinstance(twin, PlainLogistic)
        _weights_equal(evidence, spec, twin)


def _weights_equal(evidence: Evidence, spec: LogisticSpec, plain: PlainLogistic) -> None:
    world = evidence.world
    learner = world.home.learner(spec.model_id)
    assert isinstance(learner, LogisticLearner)
    for unit in (world.folded, world.unit):
        state = unit.models[spec.model_id].model.content if unit is not None else None
        if not isinstance(state, LogisticState):
            raise WrongError("lessons", "there are no weights")
        found = opened_weights(world.home.small, learner.training, state)
        if state.steps != plain.twin.steps or not (
            np.array_equal(found[0], plain.twin.weights) and np.array_equal(found[-1], plain.twin.lookahead)
        ):
            raise WrongError("lessons", "the weights are not those in the clear")


def owners_are_told_of_lessons(evidence: Evidence) -> None:
    """Each lesson has the receipt of the chunk's owner, once, and there is no other."""
    told = Counter(
        (r.message_hash, r.reason, r.journal_sequence, r.journal_head, r.model_id, r.invalid)
        for _, r in evidence.read(TopicName.RECEIPTS, Receipt)
        if r.model_id
    )
    accepted = {entry.sequence: entry.message_hash for entry, _ in evidence.chain}
    due = {
        (accepted[entry.about], entry.reason, entry.sequence, entry_id, entry.model_id, sum(entry.invalid))
        for entry, entry_id in evidence.chain
        if entry.kind == EntryKind.LEARNT
    }
    if set(told) != due:
        raise WrongError(
            "lessons", f"{len(due - set(told))} receipts missing, {len(set(told) - due)} of nothing"
        )
    if not evidence.may_repeat and set(told.values()) - {1}:
        raise WrongError("lessons", "a receipt is there twice")
