"""What must be true of the topics after every run, whatever went wrong.

Not a failure: a unit that stops with an error and goes on when it is started again; a notice or a
reply that is there twice with the same bytes, where an append was repeated or several processes of a
unit ran; a query refused because the model was still empty.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from simulation.evidence import Evidence, WrongError, id_of
from simulation.lesson_oracles import lessons_are_the_twins, owners_are_told_of_lessons
from simulation.offers import CLASSES, LIMITS, VALUES, Offer, offers, records
from simulation.world import World

from crypto.errors import InvalidCiphertextError
from crypto.service_key import finish_open, half_open
from crypto.validation import validate_ciphertexts
from roles.building_blocks.base_transfers import BASE, base_plan
from roles.building_blocks.opening import decode_t2
from roles.classifiers.learner import QUERY, REFRESH
from roles.classifiers.naive_bayes import CountTable
from roles.client import read_answer
from roles.model_state import ModelState
from roles.twins import Twin, twin_of
from roles.vectors import decode_vectors
from schemas.codec import encode
from schemas.journal import GENESIS, DeadLetter, EntryKind, JournalEntry, Receipt
from schemas.queries import Answer
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName


@dataclass
class _Reference:
    """Who should have been accepted: thirty lines that share nothing with MU."""

    can_withdraw: bool
    accepted: dict[tuple[str, int], Offer] = field(default_factory=dict)
    withdrawn: set[tuple[str, int]] = field(default_factory=set)

    def judge(self, offer: Offer | None) -> tuple[EntryKind, str | None]:
        """Return the decision on the next message of the chunks topic; any reason if None."""
        if offer is None:
            return EntryKind.REJECT, None
        place = offer.sender, offer.sequence
        if offer.kind is EntryKind.ACCEPT:
            if place in self.accepted:
                same = self.accepted[place] is offer
                return EntryKind.REJECT, "duplicate" if same else "equivocation"
            self.accepted[place] = offer
        elif offer.kind is EntryKind.WITHDRAW:
            of = offer.sender, offer.withdraws
            if not self.can_withdraw or of not in self.accepted or of in self.withdrawn:
                return EntryKind.REJECT, "not_withdrawable"
            self.withdrawn.add(of)
        return offer.kind, offer.reason

    @property
    def values(self) -> set[int]:
        """Feature values of all records that should be in the model."""
        held = [o for place, o in self.accepted.items() if place not in self.withdrawn]
        return {value for offer in held for value in offer.values}


def _reference(evidence: Evidence) -> _Reference:
    return _Reference(can_withdraw=len(evidence.world.models) == 1)


# --- the oracles


def every_message_is_decided_once_and_rightly(evidence: Evidence) -> None:
    """Each message of owners has one entry, in the topic's order, and the decision is the right one."""
    reference = _reference(evidence)
    expected = [
        (message.offset, *reference.judge(offer)) for message, offer in evidence.offered(TopicName.CHUNKS)
    ]
    kinds = {EntryKind.ACCEPT, EntryKind.WITHDRAW, EntryKind.REJECT}
    found = [
        (entry.offset, EntryKind(entry.kind), entry.reason)
        for entry, _ in evidence.chain
        if entry.topic == TopicName.CHUNKS and entry.kind in kinds
    ]
    if [place for place, *_ in found] != [place for place, *_ in expected]:
        raise WrongError("decisions", f"entries for offsets {[p for p, *_ in found]} of {len(expected)}")
    for (place, kind, reason), (_, wanted, why) in zip(found, expected, strict=True):
        if kind != wanted or (why is not None and reason != why):
            raise WrongError("decisions", f"offset {place}: {kind} {reason}, expected {wanted} {why}")


def counts_are_the_twins(evidence: Evidence) -> None:
    """The decrypted model is the plaintext one of the accepted records, each counted once."""
    reference = _reference(evidence)
    for _, offer in evidence.offered(TopicName.CHUNKS):
        reference.judge(offer)
    expected = [
        int(v in reference.values and v % CLASSES == c) for v in range(VALUES) for c in range(CLASSES)
    ]
    expected += [sum(v % CLASSES == c for v in reference.values) for c in range(CLASSES)]
    if evidence.world.folded is None:
        raise WrongError("counts", "there is no model")
    found = opened_counts(evidence.world, evidence.world.folded.models["m"].model)
    if any(count > 1 for count in found[: VALUES * CLASSES]):
        raise WrongError("counts", "a record was counted more than once, or a count is none")
    if found != expected:
        raise WrongError("counts", f"{found}, in the clear {expected}")


def opened_counts(world: World, model: ModelState) -> list[float]:
    """Open a model with both units' keys."""
    small = world.home.small
    parameters = world.home.tenant.parameters
    content = model.content
    assert isinstance(content, CountTable)
    numbers = model.ciphertexts
    halves = half_open(parameters, numbers, small.master.theta, [0] * len(numbers))
    opened = finish_open(parameters, halves, [c.t2 for c in numbers], small.secondary.theta)
    if any(value < 0 or value >> content.layout.packed_bits for value in opened):
        raise WrongError("counts", "a plaintext is longer than its slots")
    # Slots hold twice the count.
    return [value / 2 if value % 2 else value // 2 for value in content.layout.unpack(opened)]


def ciphertexts_are_in_the_group(evidence: Evidence) -> None:
    """Every number of the models is reduced, and in the group with Jacobi symbol +1."""
    for state in (evidence.world.folded, evidence.world.unit):
        for kept in state.models.values() if state else ():
            # The empty model is all ones, which nobody else may send.
            if kept.model.records:
                try:
                    validate_ciphertexts(evidence.world.home.tenant.parameters, kept.model.ciphertexts)
                except InvalidCiphertextError as error:
                    raise WrongError("group", str(error)) from error


def the_fold_is_the_same(evidence: Evidence) -> None:
    """MU in its last life, and whoever folds the topics, have the same head and the same bytes."""
    unit, folded = evidence.world.unit, evidence.world.folded
    if unit is None or folded is None:
        raise WrongError("fold", "there is no state")
    head = evidence.chain[-1][1] if evidence.chain else GENESIS
    if not unit.head == folded.head == head:
        raise WrongError("fold", "the heads differ")
    tenant = evidence.world.home.tenant
    for name, kept in unit.models.items():
        if kept.model.hash(tenant) != folded.models[name].model.hash(tenant):
            raise WrongError("fold", f"the model {name} differs")
        if kept.model.records_of != folded.models[name].model.records_of:
            raise WrongError("fold", f"the totals of {name} differ")


def letters_are_the_rejects(evidence: Evidence) -> None:
    """Each refusal, and each chunk passed over, has its dead letter, once, and there is no other."""
    told = Counter(
        (letter.topic, letter.offset, letter.reason)
        for _, letter in evidence.read(TopicName.DEAD_LETTERS, DeadLetter)
        if letter.topic in {TopicName.CHUNKS, TopicName.QUERIES}
    )
    due = {
        (entry.topic, entry.offset, entry.reason)
        for entry, _ in evidence.chain
        if entry.kind == EntryKind.REJECT or (entry.kind == EntryKind.LEARNT and entry.reason)
    }
    if set(told) != due:
        raise WrongError("dead letters", f"{len(due - set(told))} missing, {len(set(told) - due)} of nothing")
    if not evidence.may_repeat and set(told.values()) - {1}:
        raise WrongError("dead letters", "one is there twice")


def receipts_are_the_decisions(evidence: Evidence) -> None:
    """Each decision on a signed message of an owner has its receipt, once, and there is no other."""
    told = Counter(
        (receipt.message_hash, receipt.reason, receipt.journal_sequence, receipt.journal_head)
        for _, receipt in evidence.read(TopicName.RECEIPTS, Receipt)
        if not receipt.model_id
    )
    due = {
        (entry.message_hash, entry.reason, entry.sequence, entry_id)
        for entry, entry_id in evidence.chain
        if entry.topic == TopicName.CHUNKS and entry.kind not in {EntryKind.LEARNT} and entry.sender
    }
    if set(told) != due:
        raise WrongError("receipts", f"{len(due - set(told))} missing, {len(set(told) - due)} of nothing")
    if not evidence.may_repeat and set(told.values()) - {1}:
        raise WrongError("receipts", "one is there twice")


def answers_are_the_twins(evidence: Evidence) -> None:
    """Every accepted query is answered once, with the label of the version that the journal fixed."""
    known = {id_of(offer): offer for offer in offers(evidence.world.models).values() if offer.query}
    given: dict[bytes, dict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    for _, answer in evidence.read(TopicName.ANSWERS, Answer):
        given[answer.query_id][answer.reason].add(encode(answer))
    for entry, _ in evidence.chain:
        if entry.kind != EntryKind.ANSWERED:
            continue
        offer = known[entry.message_hash]
        assert offer.query is not None
        answers = given[offer.query.query_id]
        if not answers[""] and evidence.heads_were_hidden and answers["unknown_head"]:
            continue
        if [hashlib.sha256(answer).digest() for answer in answers[""]] != [entry.result]:
            raise WrongError(
                "answers", f"{len(answers[''])} to {offer.name}, or another than the journal says"
            )
    answers_hold_the_right_labels(evidence)


def answers_hold_the_right_labels(evidence: Evidence) -> None:
    """Whoever got labels got those of the version that the answer names."""
    versions = versions_after(evidence.world, [entry for entry, _ in evidence.chain])
    for offer, answer, labels in given_labels(evidence):
        assert offer.query is not None
        version = versions[offer.query.model_id, answer.model_version]
        expected = version.predict(records(offer.values)).tolist()
        if labels != expected:
            raise WrongError("answers", f"{offer.name} got {labels}, expected {expected}")


def given_labels(evidence: Evidence) -> Iterator[tuple[Offer, Answer, list[int]]]:
    """Yield every answer with labels as its client reads it, with the query that it is to."""
    home = evidence.world.home
    asked = {o.query.query_id: o for o in offers(evidence.world.models).values() if o.query is not None}
    for _, answer in evidence.read(TopicName.ANSWERS, Answer):
        if answer.reason:
            continue
        offer = asked[answer.query_id]
        assert offer.query is not None
        key, learner = home.client_keys[offer.sender], home.learner(offer.query.model_id)
        yield offer, answer, list(read_answer(learner, key, offer.query, answer).labels)


def versions_after(world: World, entries: Sequence[JournalEntry]) -> dict[tuple[str, int], Twin]:
    """Return every version of every model in the clear, by following entries from the first on."""
    versions: dict[tuple[str, int], Twin] = {}
    by_id = {id_of(offer): offer for offer in offers(world.models).values() if offer.kind is EntryKind.ACCEPT}
    for spec in world.models:
        taught: list[Offer] = []
        number = 0
        for entry in entries:
            if entry.kind == EntryKind.ACCEPT:
                taught.append(by_id[entry.message_hash])
            elif entry.kind == EntryKind.WITHDRAW:
                taught = [
                    o for o in taught if (o.sender, o.sequence) != (entry.sender, entry.sender_sequence)
                ]
            else:
                continue
            number += 1
            twin = twin_of(spec, world.home.tenant.schema, LIMITS.max_total_records)
            for offer in taught:
                twin.learn(records(offer.values))
            versions[spec.model_id, number] = twin
    return versions


def no_step_has_two_replies(evidence: Evidence) -> None:
    """SU gave each step of a session one reply, and answered one request to it."""
    for found in _by_step(evidence.replies, lambda reply: (reply.request_hash, reply.sections)).values():
        if len(found) > 1:
            raise WrongError("replies", "a step has two of them")


def _by_step(rounds: list[Reply], what: Callable[[Reply], object]) -> dict[tuple[bytes, int], set[object]]:
    found: dict[tuple[bytes, int], set[object]] = defaultdict(set)
    for one in rounds:
        found[one.session, one.step].add(what(one))
    return found


def what_su_opens_is_masked_afresh(evidence: Evidence) -> None:
    """No two plaintexts that SU opens are near each other: each has a mask of its own."""
    world = evidence.world
    tenant, small = world.home.tenant, world.home.small
    by_hash = {id_of(offer): offer.query for offer in offers(world.models).values() if offer.query}
    opened: dict[tuple[bytes, int], int] = {}
    width, bits = tenant.parameters.component_bytes, 0
    for request in evidence.requests:
        subject = request.subject
        if request.step != 1 or subject.purpose not in {REFRESH, QUERY} or subject.model_id != "m":
            continue
        learner = world.home.learner(subject.model_id)
        query = by_hash.get(subject.message_hash)
        if query is None:
            t2s = decode_t2(tenant.parameters, request.sections[1])
            layout = tenant.counts_layout(1)
        else:
            (layout,) = learner.query_layouts(query.rows)
            vectors = decode_vectors(tenant, query.vectors, learner.query_encodings, (layout,))
            t2s = tuple(c.t2 for vector in vectors.values() for c in vector)
        masked = request.sections[0]
        halves = [int.from_bytes(masked[i : i + width], "big") for i in range(0, len(masked), width)]
        bits = max(bits, layout.packed_bits)
        for place, value in enumerate(finish_open(tenant.parameters, halves, t2s, small.secondary.theta)):
            opened[request.session, place] = value
    ordered = sorted(opened.values())
    if any(after - before >> (bits + 16) == 0 for before, after in pairwise(ordered)):
        raise WrongError("masks", "two opened plaintexts differ by what they hide")


def salts_are_drawn_afresh(evidence: Evidence) -> None:
    """To two requests under one step SU never replies with one salt, whatever made it reply twice."""
    salts = _by_step(evidence.replies, lambda reply: reply.sections[0][:16])
    asked = _by_step(evidence.replies, lambda reply: reply.request_hash)
    for place, requests in asked.items():
        if len(salts[place]) < len(requests):
            raise WrongError("salts", "one salt for two requests")


def replies_are_to_what_the_plan_asks(evidence: Evidence) -> None:
    """Whatever SU answered has the fields and the sizes of the public plan."""
    answered = {reply.request_hash for reply in evidence.replies}
    tenant = evidence.world.home.tenant
    for request in evidence.requests:
        if request.subject.purpose != BASE or hashlib.sha256(encode(request)).digest() not in answered:
            continue
        planned = tuple(section.size for section in base_plan(tenant).steps[request.step - 1].request)
        if tuple(len(section) for section in request.sections) != planned:
            raise WrongError("plan", "SU answered fields of other sizes")


def junk_between_the_units_is_reported(evidence: Evidence) -> None:
    """Each unreadable message to SU has its dead letter."""
    told = {
        (letter.partition, letter.offset)
        for _, letter in evidence.read(TopicName.DEAD_LETTERS, DeadLetter)
        if letter.topic == TopicName.ROUND_REQUESTS
    }
    for partition in range(TOPICS[TopicName.ROUND_REQUESTS].partitions):
        readable = {m.offset for m, _ in evidence.read(TopicName.ROUND_REQUESTS, Request, partition)}
        for message in evidence.world.home.messages(TopicName.ROUND_REQUESTS, partition):
            if message.offset not in readable and (partition, message.offset) not in told:
                raise WrongError("dead letters", "junk for SU was not reported")


ORACLES: tuple[Callable[[Evidence], None], ...] = (
    every_message_is_decided_once_and_rightly,
    ciphertexts_are_in_the_group,
    counts_are_the_twins,
    the_fold_is_the_same,
    letters_are_the_rejects,
    receipts_are_the_decisions,
    answers_are_the_twins,
    no_step_has_two_replies,
    what_su_opens_is_masked_afresh,
    salts_are_drawn_afresh,
    replies_are_to_what_the_plan_asks,
    junk_between_the_units_is_reported,
    lessons_are_the_twins,
    owners_are_told_of_lessons,
)


def check(world: World) -> None:
    """Hold what is left of a run against every oracle.

    Raises:
        WrongError: One is not satisfied.
    """
    evidence = Evidence(world)
    for oracle in ORACLES:
        oracle(evidence)
