"""The model is a product of chunks: learning adds counts, withdrawing gives the former bytes back."""

import numpy as np
import pytest
from round_trips import chunk_of, random_counts, trained
from tenants import SmallTenant, small_tenant

from crypto.dtpkc import Ciphertext
from crypto.errors import LayoutError
from crypto.parameters import decode_ciphertexts
from crypto.service_key import finish_open, half_open
from roles.model_state import ModelState
from schemas.configuration import Limits


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def ciphertexts_of(small: SmallTenant, sequence: int, size: int, owner: str = "a") -> list[Ciphertext]:
    chunk = chunk_of(small, sequence, size, owner)
    return decode_ciphertexts(small.tenant.parameters, chunk.vectors[0].ciphertexts)


def opened(small: SmallTenant, model: ModelState) -> list[int]:
    parameters = small.tenant.parameters
    halves = half_open(parameters, model.ciphertexts, small.master.theta, [0] * len(model.ciphertexts))
    t2s = [c.t2 for c in model.ciphertexts]
    return model.layout.unpack(finish_open(parameters, halves, t2s, small.secondary.theta))


def test_the_model_holds_twice_the_sum_of_the_counts(small: SmallTenant) -> None:
    model = trained(small, (20, 3, 1))
    parts = [random_counts(small, size, f"a {i} ") for i, size in enumerate((20, 3, 1))]
    by_value = np.sum([part.feature_counts for part in parts], axis=0).reshape(-1)
    by_class = np.sum([part.class_counts for part in parts], axis=0)
    assert opened(small, model) == (2 * np.concatenate([by_value, by_class])).tolist()
    assert (model.records, model.chunks, model.version, dict(model.records_of)) == (24, 3, 3, {"a": 24})


def test_the_order_of_chunks_does_not_matter(small: SmallTenant) -> None:
    empty = ModelState.empty(small.tenant, small.tenant.model("m"))
    parts = [(ciphertexts_of(small, i, 5), "ab"[i % 2]) for i in range(3)]
    forward, backward = empty, empty
    for ciphertexts, owner in parts:
        forward = forward.learn(small.tenant, owner, 5, ciphertexts)
    for ciphertexts, owner in reversed(parts):
        backward = backward.learn(small.tenant, owner, 5, ciphertexts)
    assert forward.ciphertexts == backward.ciphertexts
    assert forward.hash(small.tenant) == backward.hash(small.tenant)


@pytest.mark.parametrize("before", [(), (20,), (20, 7)])
def test_a_withdrawn_chunk_leaves_the_very_bytes_from_before(
    small: SmallTenant, before: tuple[int, ...]
) -> None:
    model = trained(small, before)
    chunk = ciphertexts_of(small, 99, 12, "b")
    learnt = model.learn(small.tenant, "b", 12, chunk)
    assert learnt.hash(small.tenant) != model.hash(small.tenant)
    back = learnt.withdraw(small.tenant, "b", 12, chunk)
    assert back.ciphertexts == model.ciphertexts
    assert back.hash(small.tenant) == model.hash(small.tenant)
    assert (back.records, back.chunks, back.records_of) == (model.records, model.chunks, model.records_of)
    assert back.layout == model.layout
    assert back.version == model.version + 2


def test_a_chunk_from_the_middle_goes_as_if_it_had_never_come(small: SmallTenant) -> None:
    empty = ModelState.empty(small.tenant, small.tenant.model("m"))
    first, second, third = (ciphertexts_of(small, i, 4) for i in range(3))
    with_all = empty
    for ciphertexts in (first, second, third):
        with_all = with_all.learn(small.tenant, "a", 4, ciphertexts)
    without = empty.learn(small.tenant, "a", 4, first).learn(small.tenant, "a", 4, third)
    assert with_all.withdraw(small.tenant, "a", 4, second).ciphertexts == without.ciphertexts


def test_taking_out_a_chunk_that_is_not_in_borrows_across_slots(small: SmallTenant) -> None:
    # Why `MasterUnit` refuses it: the arithmetic cannot, as long as there are records enough.
    model = trained(small, (20,))
    wrong = model.withdraw(small.tenant, "a", 20, ciphertexts_of(small, 50, 20))
    records = small.tenant.counts_layout(20).bound
    assert any(slot > records for slot in opened(small, wrong))


def test_more_records_than_are_in_cannot_be_withdrawn(small: SmallTenant) -> None:
    model = trained(small, (5,))
    with pytest.raises(LayoutError):
        model.withdraw(small.tenant, "a", 6, ciphertexts_of(small, 0, 6))


def test_an_overflowing_sum_is_refused_and_changes_nothing() -> None:
    small = small_tenant(limits=Limits(1 << 47, 1 << 47, 100, 1, 1, 0))
    model = trained(small, (5,))
    before = (model.records, model.ciphertexts)
    with pytest.raises(LayoutError):
        model.learn(small.tenant, "a", (1 << 47) - 5, ciphertexts_of(small, 1, 5))
    assert (model.records, model.ciphertexts) == before
    # One record less fits: 2·(2^47 − 1) < 2^48.
    assert model.learn(small.tenant, "a", (1 << 47) - 6, ciphertexts_of(small, 1, 5)).records == (1 << 47) - 1
