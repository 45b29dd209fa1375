"""What each unit receives while a padded tree is tried: the same for any two streams of the same sizes."""

from dataclasses import dataclass
from typing import Any

import pytest
from tenants import SmallTenant, small_tenant
from trees import Chunk, LinkedTree, random_chunk

from crypto.counting import Tally, counting
from roles.classifiers.hoeffding_tree_growth import Growth, TreeSettings
from roles.classifiers.hoeffding_tree_padded_attempt import attempt_shape
from roles.classifiers.hoeffding_tree_shape import TreeModel

SETTINGS = TreeSettings(max_leaves=4, attempt_records=20, confidence_16=1, tie_records=0, pad_depth=2)
ATTEMPTS = 4
View = list[tuple[str, int]]


@dataclass(frozen=True)
class Views:
    """What both units saw of some attempts, and what they computed in all sessions.

    Attributes:
        at_master: Names and sizes of the fields of every reply.
        at_secondary: Of every request.
        operations: Counted.
        contents: The fields themselves.
        salts: Salts and nonces of them.
        growths: The public tree after every attempt.
        splits: How many tests were placed: what neither unit knows.
    """

    at_master: View
    at_secondary: View
    operations: Tally
    contents: frozenset[bytes]
    salts: tuple[bytes, ...]
    growths: tuple[Growth, ...]
    splits: int


def journey(small: SmallTenant, *, teaches: bool) -> Views:
    linked = LinkedTree.of(small, TreeModel(small.tenant, "m", SETTINGS))
    at_master: View = []
    at_secondary: View = []
    contents: list[bytes] = []
    salts: list[bytes] = []
    growths, splits = [], 0
    with counting() as tally:
        for number in range(ATTEMPTS):
            linked.learn([chunk_of(linked, number, teaches=teaches)])
            steps = attempt_shape(linked.model, linked.state.growth).plan.steps
            splits += sum(linked.attempt())
            growths.append(linked.state.growth)
            for step, request, reply in zip(
                steps, linked.messages.requests, linked.messages.replies, strict=True
            ):
                for view, fields, data in (
                    (at_secondary, step.request, request),
                    (at_master, step.reply, reply),
                ):
                    view += [
                        (f"{step.name}/{field.name}", len(part))
                        for field, part in zip(fields, data, strict=True)
                    ]
                    contents += data
                    salts += [
                        part
                        for field, part in zip(fields, data, strict=True)
                        if field.name.endswith(("salt", "nonce"))
                    ]
    return Views(at_master, at_secondary, tally, frozenset(contents), tuple(salts), tuple(growths), splits)


def chunk_of(linked: LinkedTree, number: int, *, teaches: bool) -> Chunk:
    """Return records from which there is much to learn, or nothing at all; a third of those are invalid."""
    bits, labels = random_chunk(linked.model, 60, number)
    if not teaches:
        labels[:] = (0, 0, 1)
        bits[::3] = 0
    return bits, labels


@pytest.fixture(scope="module")
def two_journeys() -> tuple[Views, Views]:
    small = small_tenant()
    return journey(small, teaches=True), journey(small, teaches=False)


def test_the_streams_teach_different_trees(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert first.splits >= 2
    assert second.splits == 0


@pytest.mark.parametrize("seen", ["growths", "at_master", "at_secondary", "operations"])
def test_nothing_that_is_seen_tells_them_apart(two_journeys: tuple[Views, Views], seen: str) -> None:
    first, second = two_journeys
    assert getattr(first, seen) == getattr(second, seen)


def test_no_field_and_no_salt_recurs(two_journeys: tuple[Views, Views]) -> None:
    first, second = two_journeys
    assert not {data for data in first.contents & second.contents if len(data) > 4}
    salts = first.salts + second.salts
    assert len(set(salts)) == len(salts) > 50


def test_the_views_are_those_of_the_documents(two_journeys: tuple[Views, Views]) -> None:
    first, _ = two_journeys
    names: dict[str, Any] = {
        side: [name for name, _ in getattr(first, side)] for side in ("at_secondary", "at_master")
    }
    # The first attempt finds a root, without tests to open; the others open them.
    opened = [f"open/{kind} {of}" for of in ("statistics", "totals", "tests") for kind in ("masked", "t2 of")]
    asked = [
        "open/carries.nonce",
        "open/carries.extension",
        "decide/salt",
        "decide/squares by test",
        "decide/squares by class",
        "decide/inputs.nonce",
        "decide/inputs.extension",
        "grow/salt",
        "grow/counts",
        "grow/moved",
        "grow/placed_mu.nonce",
        "grow/placed_mu.extension",
    ]
    answered = [
        "open/counts_su.nonce",
        "open/counts_su.extension",
        "decide/salt",
        "decide/tables",
        "decide/placed_su.nonce",
        "decide/placed_su.extension",
        "grow/salt",
        "grow/counts",
        "grow/moved",
        "grow/sealed tests",
        "grow/sealed totals",
        "grow/sealed statistics",
    ]
    assert names["at_secondary"] == opened[:4] + asked + (opened + asked) * (ATTEMPTS - 1)
    carries = ["open/salt", "open/carries"]
    later = [*carries, "open/test carries", *answered]
    assert names["at_master"] == carries + answered + later * (ATTEMPTS - 1)


def test_an_open_tree_tells_the_streams_apart() -> None:
    # The same two streams, and what padding is for.
    small = small_tenant()
    settings = TreeSettings(max_leaves=4, attempt_records=20, confidence_16=1, tie_records=0)
    leaves = []
    for teaches in (True, False):
        linked = LinkedTree.of(small, TreeModel(small.tenant, "m", settings))
        linked.learn([chunk_of(linked, 0, teaches=teaches)])
        linked.attempt()
        leaves.append(len(linked.state.growth.leaves))
    assert leaves == [2, 1]
