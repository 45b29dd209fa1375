"""Versions of a model: what is in them, and, of naive Bayes, a product of chunks.

Learning adds counts, withdrawing gives the former bytes back.
"""

import hashlib
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from linked_learners import MODELS
from round_trips import chunk_of, naive_bayes, random_counts, trained, vectors_of
from tenants import SmallTenant, small_tenant

from crypto.errors import LayoutError
from crypto.parameters import encode_ciphertexts
from crypto.service_key import finish_open, half_open
from roles.chunk_encodings import COUNTS, Vectors
from roles.learners import learners_of
from roles.model_state import ModelState
from schemas.configuration import Limits
from schemas.snapshots import SealedPlace


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def chunk(small: SmallTenant, sequence: int, size: int, owner: str = "a") -> Vectors:
    return vectors_of(small, chunk_of(small, sequence, size, owner))


def opened(small: SmallTenant, model: ModelState) -> list[int]:
    parameters = small.tenant.parameters
    halves = half_open(parameters, model.ciphertexts, small.master.theta, [0] * len(model.ciphertexts))
    t2s = [c.t2 for c in model.ciphertexts]
    layout = naive_bayes(small).layout(model)
    return layout.unpack(finish_open(parameters, halves, t2s, small.secondary.theta))


def test_the_model_holds_twice_the_sum_of_the_counts(small: SmallTenant) -> None:
    model = trained(small, (20, 3, 1))
    parts = [random_counts(small, size, f"a {i} ") for i, size in enumerate((20, 3, 1))]
    by_value = np.sum([part.feature_counts for part in parts], axis=0).reshape(-1)
    by_class = np.sum([part.class_counts for part in parts], axis=0)
    assert opened(small, model) == (2 * np.concatenate([by_value, by_class])).tolist()
    assert (model.records, model.chunks, model.version, dict(model.records_of)) == (24, 3, 3, {"a": 24})


def test_the_order_of_chunks_does_not_matter(small: SmallTenant) -> None:
    learner = naive_bayes(small)
    parts = [(chunk(small, i, 5), "ab"[i % 2]) for i in range(3)]
    forward = backward = learner.starting()
    for vectors, owner in parts:
        forward = learner.learn(forward, owner, 5, vectors)
    for vectors, owner in reversed(parts):
        backward = learner.learn(backward, owner, 5, vectors)
    assert forward.ciphertexts == backward.ciphertexts
    assert forward.hash(small.tenant) == backward.hash(small.tenant)
    assert forward.owners == backward.owners == 2


@pytest.mark.parametrize("before", [(), (20,), (20, 7)])
def test_a_withdrawn_chunk_leaves_the_very_bytes_from_before(
    small: SmallTenant, before: tuple[int, ...]
) -> None:
    learner, model = naive_bayes(small), trained(small, before)
    vectors = chunk(small, 99, 12, "b")
    learnt = learner.learn(model, "b", 12, vectors)
    assert learnt.hash(small.tenant) != model.hash(small.tenant)
    back = learner.withdraw(learnt, "b", 12, vectors)
    assert back.ciphertexts == model.ciphertexts
    assert back.hash(small.tenant) == model.hash(small.tenant)
    assert (back.records, back.chunks, back.records_of) == (model.records, model.chunks, model.records_of)
    assert back.content == model.content
    assert learner.layout(back) == learner.layout(model)
    assert back.version == model.version + 2


def test_a_chunk_from_the_middle_goes_as_if_it_had_never_come(small: SmallTenant) -> None:
    learner = naive_bayes(small)
    first, second, third = (chunk(small, i, 4) for i in range(3))
    with_all = without = learner.starting()
    for vectors in (first, second, third):
        with_all = learner.learn(with_all, "a", 4, vectors)
    for vectors in (first, third):
        without = learner.learn(without, "a", 4, vectors)
    assert learner.withdraw(with_all, "a", 4, second).ciphertexts == without.ciphertexts


def test_taking_out_a_chunk_that_is_not_in_borrows_across_slots(small: SmallTenant) -> None:
    # Why `MasterUnit` refuses it: the arithmetic cannot, as long as there are records enough.
    model = trained(small, (20,))
    wrong = naive_bayes(small).withdraw(model, "a", 20, chunk(small, 50, 20))
    records = small.tenant.counts_layout(20).bound
    assert any(slot > records for slot in opened(small, wrong))


def test_more_records_than_are_in_cannot_be_withdrawn(small: SmallTenant) -> None:
    model = trained(small, (5,))
    with pytest.raises(LayoutError):
        naive_bayes(small).withdraw(model, "a", 6, chunk(small, 0, 6))


def test_an_overflowing_sum_is_refused_and_changes_nothing() -> None:
    small = small_tenant(limits=Limits(1 << 47, 1 << 47, 100, 1, 1, 0))
    learner, model = naive_bayes(small), trained(small, (5,))
    before = (model.records, model.ciphertexts)
    # Asked beforehand the learner says the same.
    with pytest.raises(LayoutError):
        learner.check_room(model, (1 << 47) - 5, 0)
    with pytest.raises(LayoutError):
        learner.learn(model, "a", (1 << 47) - 5, chunk(small, 1, 5))
    assert (model.records, model.ciphertexts) == before
    # One record less fits: 2·(2^47 − 1) < 2^48.
    learner.check_room(model, (1 << 47) - 6, 0)
    assert learner.learn(model, "a", (1 << 47) - 6, chunk(small, 1, 5)).records == (1 << 47) - 1


def test_other_encodings_of_a_chunk_do_not_matter_to_counts(small: SmallTenant) -> None:
    learner, vectors = naive_bayes(small), chunk(small, 0, 5)
    beside = {"words": vectors[COUNTS], **vectors, "bits": vectors[COUNTS]}
    empty = learner.starting()
    assert learner.learn(empty, "a", 5, beside) == learner.learn(empty, "a", 5, vectors)


# --- versions of any model

PLACE = SealedPlace(0, 7, bytes(32), bytes(32))


def test_a_version_is_named_by_its_ciphertexts_alone(small: SmallTenant) -> None:
    for learner in learners_of(small_tenant(models=MODELS).tenant).values():
        state = learner.starting()
        encoded = encode_ciphertexts(learner.tenant.parameters, state.ciphertexts)
        assert state.hash(learner.tenant) == hashlib.sha256(encoded).digest()
        assert (state.version, state.chunks, state.records, state.owners) == (0, 0, 0, 0)
        passed = state.passing_over()
        assert passed.hash(learner.tenant) == state.hash(learner.tenant)
        # Two models that are both empty are told apart by their names, not by their hashes.
        assert state.spec.model_id == learner.model_id


def test_what_is_in_is_counted_by_owner_and_owners_without_records_are_left_out(small: SmallTenant) -> None:
    empty, content = naive_bayes(small).starting(), naive_bayes(small).empty()
    state = empty.taking("a", 5, content).taking("b", 0, content).taking("a", 2, content)
    assert (dict(state.records_of), state.owners) == ({"a": 7}, 1)
    assert (state.version, state.chunks, state.records) == (3, 3, 7)
    state = state.taking("b", 4, content).losing("a", 7, content)
    assert (dict(state.records_of), state.owners) == ({"b": 4}, 1)
    assert (state.version, state.chunks, state.records) == (5, 3, 4)
    with pytest.raises(FrozenInstanceError):
        state.version = 6  # type: ignore[misc]  # that is the point
    assert empty.version == 0


def test_a_chunk_that_was_not_learnt_is_a_version_of_the_same_content(small: SmallTenant) -> None:
    model = trained(small, (20,))
    passed = model.passing_over()
    assert passed == replace(model, version=2)
    assert (passed.content, passed.records, passed.chunks) == (model.content, 20, 1)


def test_where_a_version_lies_sealed_is_no_part_of_what_it_is(small: SmallTenant) -> None:
    model = trained(small, (20,))
    sealed = model.taking("a", 3, model.content, PLACE)
    assert sealed.sealed_at == PLACE
    assert sealed == model.taking("a", 3, model.content)
    # What lies there names its version: another one is not sealed yet, though of the same content.
    assert sealed.passing_over().sealed_at is None
    assert sealed.taking("a", 1, model.content).sealed_at is None
    assert sealed.losing("a", 1, model.content).sealed_at is None


@pytest.mark.parametrize(
    ("records", "owners", "suffices"), [(20, 2, True), (19, 2, False), (20, 1, False), (0, 0, False)]
)
def test_a_model_suffices_by_records_and_owners(records: int, owners: int, suffices: bool) -> None:
    small = small_tenant(limits=Limits(1000, 1 << 20, 100, 20, 2, 0))
    state, content = naive_bayes(small).starting(), naive_bayes(small).empty()
    for owner in range(owners):
        state = state.taking(f"o{owner}", 1, content)
    if owners:
        state = state.taking("o0", records - owners, content)
    assert (state.records, state.owners) == (records, owners)
    assert state.suffices(small.tenant) is suffices
