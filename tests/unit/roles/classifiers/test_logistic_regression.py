"""The encrypted learner against its twin: every weight, answer and probability, all exact."""

import numpy as np
import pytest
from doubles import seeded_coins
from linked_logistic import (
    Learner,
    PlainRecords,
    encrypt_records,
    encrypt_vector,
    plain_records,
)
from tenants import SmallTenant, small_tenant

from crypto.counting import counting
from crypto.errors import LayoutError, LocalProtocolError, PlaintextRangeError
from roles.classifiers.logistic_regression_opening import EncryptedRecords
from roles.classifiers.logistic_regression_query import QueryShape
from roles.classifiers.logistic_regression_schedule import LogisticSchedule
from roles.classifiers.logistic_regression_shape import LogisticRecords, LogisticShape
from roles.classifiers.logistic_regression_training import TrainingShape, WeightOverflowError
from roles.classifiers.logistic_regression_twin import LogisticTwin

NUMBERS = LogisticRecords(3, (), (), 2)
BITS = LogisticRecords(0, (3, 2), (0, 1), 2)
MIXED = LogisticRecords(2, (4, 3, 2), (0, 2), 4)


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


def both(
    small: SmallTenant, records: LogisticRecords, schedule: LogisticSchedule
) -> tuple[Learner, LogisticTwin]:
    return Learner(small, records, schedule), LogisticTwin.empty(records.features, records.classes, schedule)


@pytest.mark.parametrize(
    ("records", "schedule"),
    [
        (NUMBERS, LogisticSchedule(rate_256=2048)),
        (NUMBERS, LogisticSchedule(rate_256=512, passes=3, batch_records=7, l2_shift=6)),
        (NUMBERS, LogisticSchedule(rate_256=512, passes=2, momentum_16=13, decay_steps=3)),
        (BITS, LogisticSchedule(rate_256=2048, passes=2)),
        (MIXED, LogisticSchedule(rate_256=1024, passes=2, batch_records=9, momentum_16=14, l2_shift=9)),
    ],
    ids=["numbers", "batches and decay", "momentum", "bits", "mixed, four classes"],
)
def test_weights_and_answers_equal_the_twin(
    small: SmallTenant, records: LogisticRecords, schedule: LogisticSchedule
) -> None:
    learner, twin = both(small, records, schedule)
    for sequence in range(2):
        plain = plain_records(records, 20, f"{sequence}")
        learner.learn_plain(plain, f"{sequence}")
        twin = twin.learn(plain.features(records), plain.labels)
        learner.assert_equal(twin)
    assert learner.state.steps == twin.steps
    asked = plain_records(records, 6, "asked")
    features = asked.features(records)
    (labels,) = learner.ask(asked, "labels")
    np.testing.assert_array_equal(labels, twin.predict(features))
    labels, *probabilities = learner.ask(asked, "probabilities", probabilities=True)
    np.testing.assert_array_equal(labels, twin.predict(features))
    np.testing.assert_array_equal(np.array(probabilities).T, twin.probabilities(features))


@pytest.mark.slow
def test_200_chunks_with_the_state_sealed_and_opened_again(small: SmallTenant) -> None:
    records = LogisticRecords(2, (), (), 2)
    learner, twin = both(small, records, LogisticSchedule(rate_256=700, momentum_16=9, l2_shift=10))
    for sequence in range(200):
        plain = plain_records(records, 3, f"many {sequence}")
        learner.learn_plain(plain, f"many {sequence}")
        twin = twin.learn(plain.features(records), plain.labels)
    learner.assert_equal(twin)
    assert np.abs(twin.weights).max() > 1 << 16


def test_a_warm_start_from_a_snapshot_goes_on_where_it_was(small: SmallTenant) -> None:
    schedule = LogisticSchedule(rate_256=700, decay_steps=2)
    learner, twin = both(small, NUMBERS, schedule)
    first, second = (plain_records(NUMBERS, 8, name) for name in ("first", "second"))
    learner.learn_plain(first, "first")
    again = Learner(small, NUMBERS, schedule)
    again.state = learner.state
    again.learn_plain(second, "second")
    again.assert_equal(
        twin.learn(first.features(NUMBERS), first.labels).learn(second.features(NUMBERS), second.labels)
    )


def test_the_same_session_again_gives_the_same_bytes(small: SmallTenant) -> None:
    plain = plain_records(MIXED, 8, "again")
    schedule = LogisticSchedule(passes=2)
    first, second, other = (Learner(small, MIXED, schedule) for _ in range(3))
    encrypted = encrypt_records(small, first.shape, plain, "again", labelled=True)
    first.learn(encrypted, 8, "again")
    second.learn(encrypted, 8, "again")
    other.learn(encrypted, 8, "another session")
    assert first.state == second.state
    assert first.state.ciphertexts != other.state.ciphertexts
    np.testing.assert_array_equal(first.weights(), other.weights())


@pytest.mark.parametrize("records", [LogisticRecords(1, (), (), 2), LogisticRecords(0, (2,), (0,), 3)])
def test_one_record_one_feature(small: SmallTenant, records: LogisticRecords) -> None:
    learner, twin = both(small, records, LogisticSchedule(rate_256=300, passes=2))
    plain = plain_records(records, 1, "one")
    learner.learn_plain(plain, "one")
    learner.assert_equal(twin.learn(plain.features(records), plain.labels))
    assert learner.ask(plain, "one").shape == (1, 1)


def test_three_hundred_features(small: SmallTenant) -> None:
    records = LogisticRecords(300, (), (), 2)
    learner, twin = both(small, records, LogisticSchedule(rate_256=64))
    plain = plain_records(records, 4, "wide")
    learner.learn_plain(plain, "wide")
    learner.assert_equal(twin.learn(plain.features(records), plain.labels))


def test_constant_columns_and_a_chunk_of_one_class(small: SmallTenant) -> None:
    learner, twin = both(small, NUMBERS, LogisticSchedule(rate_256=512, passes=3))
    words = np.full((9, 3), 1023)
    words[:, 1], words[:, 2] = 0, -1023
    plain = PlainRecords(words, np.zeros((9, 0), dtype=np.uint8), np.ones(9, dtype=np.int64))
    learner.learn_plain(plain, "constant")
    twin = twin.learn(plain.features(NUMBERS), plain.labels)
    learner.assert_equal(twin)
    assert twin.weights[0, 1] == 0
    assert learner.ask(plain, "constant").tolist() == [[1] * 9]


def test_a_model_without_records_answers_the_same_for_all(small: SmallTenant) -> None:
    learner, twin = both(small, MIXED, LogisticSchedule())
    assert not learner.weights().any()
    plain = plain_records(MIXED, 3, "empty")
    assert learner.ask(plain, "empty").tolist() == [twin.predict(plain.features(MIXED)).tolist()]


@pytest.mark.parametrize("passes", [1, 3])
def test_overflow_rejects_the_chunk_and_leaves_the_state(small: SmallTenant, passes: int) -> None:
    schedule = LogisticSchedule(rate_256=1 << 16, passes=passes)
    learner, twin = both(small, NUMBERS, schedule)
    before = learner.state
    plain = plain_records(NUMBERS, 6, "large")
    with pytest.raises(OverflowError):
        twin.learn(plain.features(NUMBERS), plain.labels)
    with pytest.raises(WeightOverflowError):
        learner.learn_plain(plain, "large")
    assert learner.state == before
    learner.assert_equal(twin)


def test_hostile_slots_are_bounded_and_do_not_stop_the_learner(small: SmallTenant) -> None:
    learner, _ = both(small, MIXED, LogisticSchedule(passes=2))
    rows = 5
    layouts = learner.shape.words_layout(rows), learner.shape.bits_layout(rows, labelled=True)
    vectors = []
    for index, layout in enumerate(layouts):
        assert layout is not None
        full = (1 << layout.packed_bits) - 1
        keys, coins = small.tenant.service_key, seeded_coins(f"hostile {index}")
        vectors.append(tuple(keys.encrypt_many([full] * layout.ciphertexts, coins)))
    learner.learn(EncryptedRecords(*vectors), rows, "hostile")
    assert (np.abs(learner.weights()) < 1 << 20).all()


def test_a_plaintext_beyond_its_slots_is_out_of_range(small: SmallTenant) -> None:
    learner, _ = both(small, LogisticRecords(1, (), (), 2), LogisticSchedule())
    before = learner.state
    plain = plain_records(learner.records, 2, "beyond")
    honest = encrypt_records(small, learner.shape, plain, "beyond", labelled=True)
    long = [small.tenant.parameters.n // 2]
    beyond = tuple(small.tenant.service_key.encrypt_many(long, seeded_coins("beyond")))
    with pytest.raises(PlaintextRangeError):
        learner.learn(EncryptedRecords(beyond, honest.bits), 2, "beyond")
    assert learner.state == before


def test_rows_that_are_not_one_hot_get_the_label_invalid(small: SmallTenant) -> None:
    learner, twin = both(small, MIXED, LogisticSchedule(rate_256=2048))
    plain = plain_records(MIXED, 12, "train")
    learner.learn_plain(plain, "train")
    twin = twin.learn(plain.features(MIXED), plain.labels)
    asked = plain_records(MIXED, 5, "invalid")
    asked.bits[1, :4] = (1, 1, 0, 0)
    # An attribute that is no feature counts as well.
    asked.bits[2, 4:7] = 0
    labels, *probabilities = learner.ask(asked, "invalid", probabilities=True)
    expected = twin.predict(asked.features(MIXED))
    expected[[1, 2]] = MIXED.classes
    np.testing.assert_array_equal(labels, expected)
    assert not np.array(probabilities)[:, [1, 2]].any()


def test_features_that_an_owner_cannot_pack_are_refused(small: SmallTenant) -> None:
    shape = LogisticShape(small.tenant, NUMBERS, LogisticSchedule())
    with pytest.raises(PlaintextRangeError):
        encrypt_vector(small, shape.words_layout(1), np.array([0, 1024, 0]), "refused")


@pytest.mark.parametrize(
    "wrong",
    [
        (0, (), (), 2),
        (1, (), (), 1),
        (-1, (2,), (0,), 2),
        (1, (2,), (1,), 2),
        (1, (2, 2), (1, 0), 2),
        (1, (0,), (), 2),
    ],
)
def test_records_that_make_no_sense_are_refused(
    wrong: tuple[int, tuple[int, ...], tuple[int, ...], int],
) -> None:
    with pytest.raises(LocalProtocolError):
        LogisticRecords(*wrong)


def test_round_trips_do_not_depend_on_the_chunk(small: SmallTenant) -> None:
    shape = LogisticShape(small.tenant, MIXED, LogisticSchedule(passes=7))
    for rows in (1, 20, 500):
        assert len(TrainingShape(shape, rows, 0).plan.steps) == 1 + 4 * 7
        assert len(QueryShape(shape, rows).plan.steps) == 3


def test_a_session_whose_messages_would_not_travel_is_refused(small: SmallTenant) -> None:
    records = LogisticRecords(300, (), (), 10)
    with pytest.raises(LayoutError, match="fewer records"):
        _ = TrainingShape(LogisticShape(small.tenant, records, LogisticSchedule()), 2000, 0).plan
    in_batches = LogisticSchedule(batch_records=100)
    smaller = LogisticShape(small.tenant, LogisticRecords(30, (), (), 10), in_batches)
    assert TrainingShape(smaller, 2000, 0).plan.steps


def test_large_chunks_are_summed_in_parts(small: SmallTenant) -> None:
    records = LogisticRecords(0, (2,), (0,), 2)
    learner, twin = both(small, records, LogisticSchedule(rate_256=2048))
    rows = 2100
    plain = plain_records(records, rows, "parts")
    learner.learn_plain(plain, "parts")
    learner.assert_equal(twin.learn(plain.features(records), plain.labels))


def test_the_cost_is_that_of_the_documents(small: SmallTenant) -> None:
    schedule = LogisticSchedule(passes=3, rate_256=512)
    learner, _ = both(small, NUMBERS, schedule)
    rows, numbers = 40, 4
    encrypted = encrypt_records(
        small, learner.shape, plain_records(NUMBERS, rows, "cost"), "cost", labelled=True
    )
    with counting() as tally:
        learner.learn(encrypted, rows, "cost")
    layouts = learner.shape.words_layout(rows), learner.shape.bits_layout(rows, labelled=True)
    records = sum(layout.ciphertexts for layout in layouts if layout is not None)
    state = learner.shape.state.ciphertexts
    # One short power per ciphertext and unit to open, two to seal (unprepared key: plain powers).
    # (a power of g goes by table where another test of this process prepared one).
    assert tally.powers_short + tally.fixed_base == 2 * (records + state) + 4 * state
    training = TrainingShape(learner.shape, rows, 0)
    choices = training.opening.choices + rows * 3
    for step in training.steps:
        per_direction = 18 * numbers + 10 * rows
        choices += 2 * per_direction + 32 * rows + step.update.choice_count(1)
    # Each row is extended at both units.
    assert tally.cots == 2 * choices
    payload = sum(2 * (18 * numbers * rows + 10 * rows * numbers) * 4 for _ in range(3))
    assert tally.cot_payload_bytes == payload + rows * 3 * 4 + -(-rows * 2 // 8)
    ands = 11 * rows * 3 + training.opening.state_circuit.and_gates(4)
    ands += sum(134 * rows + step.update.and_gates(1) for step in training.steps)
    assert tally.ands == 2 * ands
