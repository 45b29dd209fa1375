"""SU goes by what MU signed: which versions may answer, and that none follows another too soon (rule 9)."""

import pytest
from linked_learners import MODELS
from msgspec import structs
from round_trips import (
    chunk_of,
    head_of,
    naive_bayes,
    query_for,
    random_records,
    refresh_subject,
    replace_subject,
    subject_of_query,
    trained,
    vectors_of,
)
from tenants import SmallTenant, small_tenant

from roles.head_watch import KEPT_HEADS, HeadWatch
from roles.kept_model import KeptModel
from roles.model_state import ModelState
from roles.refusal import Refusal
from schemas.configuration import Limits
from schemas.heads import Head
from schemas.models import NaiveBayesSpec
from schemas.reasons import ReasonCode
from schemas.rounds import Subject

LIMITS = Limits(1000, 1 << 20, 5, 20, 2, 10)
SMALL = small_tenant(limits=LIMITS)


def watch(limits: Limits = LIMITS) -> HeadWatch:
    return HeadWatch(small_tenant(limits=limits, models=MODELS).tenant)


def head(
    records: int,
    version: int = 1,
    sequence: int = 5,
    *,
    owners: int = 2,
    model_id: str = "nb",
    content: str = "",
    withdrawn: int = 0,
) -> Head:
    """Return a head; unless told otherwise its content is another one for every number of records."""
    name = f"{model_id} {content or records}".encode().ljust(32)
    return Head(model_id, version, sequence, bytes(32), records, owners, name, withdrawn)


def subject_of(head: Head, purpose: str = "query") -> Subject:
    """Return a subject of a session about what a head speaks of."""
    version = head.model_version if purpose == "query" else 0
    return Subject(purpose, head.model_id, version, head.model_hash, head.records, head.owners)


def helps(watching: HeadWatch, subject: Subject) -> bool:
    """Return whether SU would begin a session about a subject."""
    try:
        watching.check(subject, version=subject.purpose == "query")
    except Refusal as refusal:
        if refusal.reason != ReasonCode.UNKNOWN_HEAD:
            raise
        return False
    return True


def test_a_version_is_helped_with_once_its_head_was_seen() -> None:
    watching, seen = watch(), head(20)
    for purpose in ("query", "refresh"):
        assert not helps(watching, subject_of(seen, purpose))
    assert watching.offer(seen)
    for purpose in ("query", "refresh"):
        assert helps(watching, subject_of(seen, purpose))


@pytest.mark.parametrize(
    ("records", "owners", "taken"),
    [(20, 2, True), (19, 2, False), (20, 1, False), (0, 0, False), (-1, 2, False)],
)
def test_a_version_of_too_few_records_or_owners_may_not_answer(
    records: int, owners: int, taken: bool
) -> None:
    watching, offered = watch(), head(records, owners=owners)
    assert watching.offer(offered) is taken
    assert helps(watching, subject_of(offered)) is taken
    # What was passed over is forgotten: it sets no mark for those after it.
    assert watching.offer(head(20, content="other")) is not taken


@pytest.mark.parametrize(("fresh", "taken"), [(10, True), (11, True), (9, False), (1, False), (0, False)])
def test_a_version_with_too_few_new_records_may_not_answer(fresh: int, taken: bool) -> None:
    watching, first = watch(), head(30)
    watching.offer(first)
    second = head(30 + fresh, 2, 6, content="second")
    assert watching.offer(second) is taken
    assert helps(watching, subject_of(second)) is taken
    # The one before goes on answering: queries that were accepted for it may still be open.
    assert helps(watching, subject_of(first))


def test_new_records_are_counted_from_the_last_version_that_answers() -> None:
    watching = watch()
    watching.offer(head(30))
    # Neither of these answers; together they bring enough.
    assert not watching.offer(head(35, 2, 6))
    assert not watching.offer(head(39, 3, 7))
    assert watching.offer(head(40, 4, 8))


@pytest.mark.parametrize("min_new_records", [0, 1])
def test_a_version_without_any_new_record_never_follows(min_new_records: int) -> None:
    # Where no step is asked for, a chunk of invalid records alone is still none.
    watching = watch(Limits(1000, 1 << 20, 5, 20, 2, min_new_records))
    watching.offer(head(30))
    assert not watching.offer(head(30, 2, 6, content="the same number"))
    assert watching.offer(head(31, 2, 6))


@pytest.mark.parametrize(
    ("records", "withdrawn", "taken"),
    [
        (30, 1, True),
        (26, 5, True),
        (31, 1, False),
        (32, 1, False),
        (39, 1, False),
        (40, 1, True),
        (35, 6, True),
        (34, 6, False),
        (31, 0, False),
        (20, 0, False),
        (31, 32, False),
        (32, -1, False),
    ],
)
def test_after_a_withdrawal_a_version_follows_with_no_other_records_or_enough(
    records: int, withdrawn: int, taken: bool
) -> None:
    # Who withdraws a chunk knows it: with one or two new records beside it the difference would tell them.
    watching, first = watch(), head(31)
    watching.offer(first)
    second = head(records, 4, 6, content="second", withdrawn=withdrawn)
    assert watching.offer(second) is taken
    assert helps(watching, subject_of(second)) is taken


def test_after_a_withdrawal_it_goes_in_steps_again() -> None:
    watching = watch()
    watching.offer(head(31))
    assert watching.offer(head(30, 4, 6, withdrawn=1))
    assert not watching.offer(head(35, 5, 7))
    assert watching.offer(head(40, 6, 8))


def test_a_model_that_is_none_of_the_tenants_has_no_heads() -> None:
    unknown = head(30, model_id="other")
    watching = watch()
    assert not watching.offer(unknown)
    assert not helps(watching, subject_of(unknown))


def test_after_a_withdrawal_too_few_records_are_too_few() -> None:
    watching = watch()
    watching.offer(head(25))
    assert not watching.offer(head(19, 2, 6, withdrawn=6))
    assert not watching.offer(head(20, 2, 6, owners=1, withdrawn=5))


@pytest.mark.parametrize(("version", "sequence"), [(2, 5), (2, 4), (1, 6), (0, 6), (1, 4)])
def test_a_head_about_an_older_entry_or_version_is_passed_over(version: int, sequence: int) -> None:
    # A journal that goes back would let old versions answer again, and new ones without a step.
    watching = watch()
    watching.offer(head(30, 1, 5))
    for records in (20, 40):
        older = head(records, version, sequence)
        assert not watching.offer(older)
        assert not helps(watching, subject_of(older))


def test_a_head_that_is_no_news_changes_nothing() -> None:
    watching, first = watch(), head(30)
    assert watching.offer(first)
    assert not watching.offer(first)
    assert helps(watching, subject_of(first))
    # The same content with other totals is another version: chunks may cancel one another out.
    again = structs.replace(first, records=50, model_version=2, journal_sequence=6)
    assert watching.offer(again)
    assert helps(watching, subject_of(first))
    assert helps(watching, subject_of(again))
    assert watching.offer(head(60, 3, 7))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_hash": bytes(32)},
        {"model_hash": b""},
        {"records": 31},
        {"records": 29},
        {"owners": 3},
        {"owners": 1},
        {"model_id": "n"},
    ],
)
@pytest.mark.parametrize("purpose", ["query", "refresh"])
def test_a_session_about_what_no_head_says_is_refused(purpose: str, changes: dict[str, object]) -> None:
    watching, seen = watch(), head(30)
    watching.offer(seen)
    assert not helps(watching, replace_subject(subject_of(seen, purpose), **changes))


def test_a_query_names_the_version_and_a_refresh_does_not() -> None:
    watching, seen = watch(), head(30, version=3)
    watching.offer(seen)
    assert helps(watching, subject_of(seen))
    for version in (0, 2, 4):
        assert not helps(watching, replace_subject(subject_of(seen), model_version=version))
    assert helps(watching, subject_of(seen, "refresh"))


def test_models_have_heads_of_their_own() -> None:
    watching = watch()
    first, second = head(30, model_id="nb", content="one"), head(31, model_id="dt", content="two")
    assert watching.offer(first)
    # Of another model neither version nor entry nor records are compared.
    assert watching.offer(second)
    assert watching.offer(head(40, 2, 6, model_id="nb"))
    assert helps(watching, subject_of(first))
    assert not helps(watching, replace_subject(subject_of(first), model_id="dt"))
    assert not helps(watching, replace_subject(subject_of(second), model_id="nb"))


def test_two_models_of_equal_content_are_told_apart() -> None:
    # Two naive-Bayes models with other smoothings hold the same counts, under the same hash.
    models = (NaiveBayesSpec("nb"), NaiveBayesSpec("sharp", 64))
    watching = HeadWatch(small_tenant(limits=LIMITS, models=models).tenant)
    first = head(30, content="counts")
    second = structs.replace(first, model_id="sharp")
    assert watching.offer(first)
    assert not helps(watching, subject_of(second))
    assert watching.offer(second)
    assert helps(watching, subject_of(second))


def test_the_number_of_heads_is_bounded_and_the_oldest_go() -> None:
    watching = watch(Limits(1000, 1 << 20, 5, 20, 2, 1))
    heads = [head(20 + number, 1 + number, number) for number in range(KEPT_HEADS + 2)]
    other = head(20, model_id="dt")
    watching.offer(other)
    for offered in heads:
        assert watching.offer(offered)
    assert [helps(watching, subject_of(offered)) for offered in heads] == [False] * 2 + [True] * KEPT_HEADS
    # One that went does not come back: it is about an older entry.
    assert not watching.offer(heads[0])
    assert helps(watching, subject_of(other))


def test_the_bound_can_be_set() -> None:
    watching = HeadWatch(SMALL.tenant, limit=1)
    first, second = head(20, model_id="m"), head(30, 2, 6, model_id="m")
    assert watching.offer(first)
    assert watching.offer(second)
    assert [helps(watching, subject_of(offered)) for offered in (first, second)] == [False, True]


def test_a_watch_shows_no_more_than_its_tenant() -> None:
    watching = watch()
    watching.offer(head(30))
    assert "_kept" not in repr(watching)


# --- MU's word and SU's rule, held against each other

ANY_OWNER = Limits(1000, 1 << 20, 5, 20, 1, 10)


def kept_by_master(small: SmallTenant, model: ModelState) -> KeptModel:
    learner = naive_bayes(small)
    return KeptModel(learner, model, learner.starting())


def moved(kept: KeptModel, model: ModelState, sequence: int) -> None:
    """Let a query come in at an entry after the model became another version."""
    kept.model = model
    answering = kept.next_answering()
    assert answering is not None
    kept.answer_by(answering, sequence, bytes([sequence]) * 32)


@pytest.mark.parametrize("min_new_records", [0, 1, 10])
def test_su_goes_by_every_version_by_which_mu_answers(min_new_records: int) -> None:
    small = small_tenant(limits=Limits(1000, 1 << 20, 5, 20, 1, min_new_records))
    learner, watching = naive_bayes(small), HeadWatch(small.tenant)
    model = trained(small, (20,))
    kept, seen = kept_by_master(small, model), set()
    for sequence, size in enumerate((5, 4, 1, 9, 30, 2), start=1):
        moved(kept, model, sequence)
        given = kept.head(small.tenant)
        # A head is news just when MU answers by another version.
        assert watching.offer(given) is (given.model_version not in seen)
        seen.add(given.model_version)
        query = query_for(small, random_records(small, 2, sequence), f"{sequence}")
        assert helps(watching, subject_of_query(small, kept.answering, query))
        assert helps(watching, refresh_subject(small, kept.answering))
        chunk = chunk_of(small, sequence, size)
        model = learner.learn(model, "a", size, vectors_of(small, chunk))
    assert len(seen) == {0: 6, 1: 6, 10: 3}[min_new_records]


def test_su_goes_by_the_version_after_a_withdrawal() -> None:
    small = small_tenant(limits=ANY_OWNER)
    learner, watching = naive_bayes(small), HeadWatch(small.tenant)
    chunks = [vectors_of(small, chunk_of(small, sequence, 20)) for sequence in range(2)]
    model = learner.learn(learner.learn(learner.starting(), "a", 20, chunks[0]), "a", 20, chunks[1])
    kept = kept_by_master(small, model)
    moved(kept, model, 1)
    assert watching.offer(kept.head(small.tenant))
    kept.lose(learner.withdraw(model, "a", 20, chunks[0]), 20, accepted_at=0)
    moved(kept, kept.model, 2)
    assert kept.answering.version == 3
    assert kept.head(small.tenant).withdrawn == 20
    assert watching.offer(kept.head(small.tenant))
    query = query_for(small, random_records(small, 2, "asked"))
    assert helps(watching, subject_of_query(small, kept.answering, query))


def test_su_goes_by_a_content_that_comes_back_as_another_version() -> None:
    # A chunk came, was asked about, and was withdrawn: the very bytes from before, two versions on.
    small = small_tenant(limits=ANY_OWNER)
    learner, watching = naive_bayes(small), HeadWatch(small.tenant)
    first = trained(small, (20,))
    chunk = vectors_of(small, chunk_of(small, 1, 20))
    second = learner.learn(first, "a", 20, chunk)
    third = learner.withdraw(second, "a", 20, chunk)
    kept = kept_by_master(small, first)
    for sequence, model in enumerate((first, second, third)):
        if model is third:
            kept.lose(third, 20, accepted_at=0)
        moved(kept, model, sequence)
        assert kept.answering is model
        watching.offer(kept.head(small.tenant))
        query = query_for(small, random_records(small, 2, sequence), f"{sequence}")
        assert helps(watching, subject_of_query(small, model, query))


def test_heads_name_what_mu_answers_by() -> None:
    model = trained(SMALL, (20,))
    kept = kept_by_master(SMALL, model)
    moved(kept, model, 7)
    assert kept.head(SMALL.tenant) == structs.replace(head_of(SMALL, model, 7), journal_head=b"\x07" * 32)
    # Asked again by the same version, it is the same head.
    before = kept.head(SMALL.tenant)
    moved(kept, model, 8)
    assert kept.head(SMALL.tenant) == before


def test_what_was_withdrawn_does_not_go_on_answering_and_tells_nothing_of_others() -> None:
    small = small_tenant(limits=ANY_OWNER)
    learner, watching = naive_bayes(small), HeadWatch(small.tenant)
    chunks = [vectors_of(small, chunk_of(small, sequence, 20)) for sequence in range(3)]
    model = learner.learn(learner.learn(learner.starting(), "a", 20, chunks[0]), "b", 20, chunks[1])
    kept = kept_by_master(small, model)
    moved(kept, model, 5)
    watching.offer(kept.head(small.tenant))
    # One record of somebody comes; then a chunk goes that was in what answers.
    single = vectors_of(small, chunk_of(small, 9, 1))
    kept.model = learner.learn(kept.model, "a", 1, single)
    kept.lose(learner.withdraw(kept.model, "b", 20, chunks[1]), 20, accepted_at=3)
    assert kept.next_answering() is None
    # A chunk that came after what answers, and goes, lets nothing through either.
    late = learner.learn(kept.model, "b", 20, chunks[2])
    kept.lose(learner.withdraw(late, "b", 20, chunks[2]), 20, accepted_at=7)
    assert (kept.withdrawn, kept.next_answering()) == (20, None)
    for sequence in range(10, 19):
        kept.model = learner.learn(kept.model, "a", 1, vectors_of(small, chunk_of(small, sequence, 1)))
    moved(kept, kept.model, 8)
    head = kept.head(small.tenant)
    assert (head.records, head.withdrawn) == (30, 20)
    assert watching.offer(head)


def test_a_chunk_that_comes_and_goes_lets_no_version_through() -> None:
    small = small_tenant(limits=ANY_OWNER)
    learner = naive_bayes(small)
    chunks = [vectors_of(small, chunk_of(small, sequence, 20)) for sequence in range(2)]
    model = learner.learn(learner.starting(), "a", 20, chunks[0])
    kept = kept_by_master(small, model)
    moved(kept, model, 5)
    grown = learner.learn(model, "a", 1, vectors_of(small, chunk_of(small, 9, 1)))
    passing = learner.learn(grown, "b", 20, chunks[1])
    kept.model = passing
    kept.lose(learner.withdraw(passing, "b", 20, chunks[1]), 20, accepted_at=6)
    assert kept.next_answering() is model
