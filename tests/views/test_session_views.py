"""What each unit receives: the same kinds, counts and sizes for any two inputs of one shape.

A view here is the list of fields that one unit is sent, by name and length. It must follow from
the public plan alone, so that a new leak needs a change of the plan, and thereby of this test.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from round_trips import (
    Rounds,
    head_of,
    naive_bayes,
    query_of_bits,
    query_session,
    refresh_session,
    secondary_unit,
    vectors_of,
)
from tenants import SmallTenant, small_tenant

from crypto.counting import Tally, counting
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords, count_table, encode_bits
from roles.model_state import ModelState

View = list[tuple[str, int]]


@dataclass(frozen=True)
class Views:
    """What both units saw of one refresh and one query, and what they computed."""

    at_master: View
    at_secondary: View
    operations: Tally
    contents: frozenset[bytes]


def records(small: SmallTenant, size: int, value: int, label: int) -> EncodedRecords:
    """Return records that are all alike: as different as data can be from evenly spread ones."""
    sizes = np.array(small.tenant.schema.attribute_sizes)
    indices = np.tile(np.minimum(value, sizes - 1), (size, 1)).astype(np.int32)
    return EncodedRecords(indices, np.full(size, label, dtype=np.int32))


def model_of(small: SmallTenant, train: EncodedRecords) -> ModelState:
    # Coins of its own for each chunk, as an owner draws them: equal ones would give equal T2.
    coins = seeded_coins(f"chunk {count_table(small.tenant.schema, train).class_counts.tolist()}")
    chunk = make_chunk(small.tenant, "a", 0, train, coins)
    learner = naive_bayes(small)
    return learner.learn(learner.starting(), "a", chunk.records, vectors_of(small, chunk))


def journey(small: SmallTenant, train: EncodedRecords, rows: npt.NDArray[np.uint8]) -> Views:
    """Refresh and query one model; return what either unit was sent."""
    model = model_of(small, train)
    unit = secondary_unit(small)
    unit.heads.offer(head_of(small, model))
    at_master: View = []
    at_secondary: View = []
    contents: set[bytes] = set()
    with counting() as tally:
        refresh = Rounds(unit)
        session, program = refresh_session(small, model)
        table = refresh.run(session, program)
        query = query_of_bits(small, rows, f"query {rows.tolist()}")
        asked = Rounds(unit, query)
        query_at, query_program = query_session(small, model, query, table)
        asked.run(query_at, query_program)
    for rounds, plan in ((refresh, session.plan), (asked, query_at.plan)):
        for step, request, reply in zip(plan.steps, rounds.requests, rounds.replies, strict=True):
            for section, data in zip(step.request, request.sections, strict=True):
                at_secondary.append((f"{plan.name}/{step.name}/{section.name}", len(data)))
                contents.add(data)
            for section, data in zip(step.reply, reply.sections, strict=True):
                at_master.append((f"{plan.name}/{step.name}/{section.name}", len(data)))
                contents.add(data)
    return Views(at_master, at_secondary, tally, frozenset(contents))


@pytest.fixture(scope="module")
def small() -> SmallTenant:
    return small_tenant()


@pytest.fixture(scope="module")
def two_journeys(small: SmallTenant) -> tuple[Views, Views]:
    schema = small.tenant.schema
    first = journey(small, records(small, 16, 0, 0), encode_bits(schema, records(small, 3, 0, 0)))
    # Other records, other classes, and rows that are no one-hot encoding at all.
    second = journey(small, records(small, 16, 9, 2), np.ones((3, schema.onehot_columns), dtype=np.uint8))
    return first, second


def test_both_inputs_show_the_same_kinds_counts_and_sizes(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert first.at_master == second.at_master
    assert first.at_secondary == second.at_secondary


def test_both_inputs_cost_the_same_operations(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert first.operations == second.operations


def test_no_field_is_the_same(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert not first.contents & second.contents


def test_the_views_are_those_of_the_documents(two_journeys: tuple[Views, Views]) -> None:
    first, _ = two_journeys
    assert [name for name, _ in first.at_secondary] == [
        "naive_bayes.refresh/logarithms/masked",
        "naive_bayes.refresh/logarithms/t2",
        "naive_bayes.refresh/logarithms/transfers.nonce",
        "naive_bayes.refresh/logarithms/transfers.extension",
        "naive_bayes.query/open/masked",
        "naive_bayes.query/open/carries.nonce",
        "naive_bayes.query/open/carries.extension",
        "naive_bayes.query/score/salt",
        "naive_bayes.query/score/products",
        "naive_bayes.query/score/bits_mu.nonce",
        "naive_bayes.query/score/bits_mu.extension",
        "naive_bayes.query/decide/inputs.nonce",
        "naive_bayes.query/decide/inputs.extension",
    ]
    assert [name for name, _ in first.at_master] == [
        "naive_bayes.refresh/logarithms/salt",
        "naive_bayes.refresh/logarithms/tables",
        "naive_bayes.refresh/logarithms/colours",
        "naive_bayes.query/open/salt",
        "naive_bayes.query/open/carries",
        "naive_bayes.query/open/bits_su.nonce",
        "naive_bayes.query/open/bits_su.extension",
        "naive_bayes.query/score/salt",
        "naive_bayes.query/score/products",
        "naive_bayes.query/decide/salt",
        "naive_bayes.query/decide/tables",
        "naive_bayes.query/decide/colours",
        "naive_bayes.query/decide/sealed",
    ]
