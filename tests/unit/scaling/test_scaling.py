"""How costs grow: exact laws are found, charts keep inside their axes, points do the work that they say."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learner import Learner
from benchmarks.log_chart import log_chart
from benchmarks.machine import this_machine
from benchmarks.measure import Prepared, Work
from benchmarks.page import markers
from benchmarks.scaling.__main__ import MARKER, chart, report, run
from benchmarks.scaling.axes import AXES, BAYES, Axis
from benchmarks.scaling.cores import CoreTimes, by_turns, on_cores, works
from benchmarks.scaling.fit import Point, power_law
from benchmarks.scaling.laboratory import Laboratory, LargeDeployment, categorical, publish_as
from crypto.profiles import profile

ROOT = Path(__file__).parents[3]
SIZES = (1, 10, 100, 1000, 10_000)


def points(exponent: float) -> list[Point]:
    return [Point(size, 3 * size**exponent, 2 * size**exponent, 4 * size**exponent) for size in SIZES]


@pytest.mark.parametrize(
    ("exponent", "name"),
    [
        (0.0, "constant"),
        (1.0, "linear"),
        (0.5, "less than linear"),
        (2.0, "more than linear"),
        (-1.0, "falling"),
    ],
)
def test_an_exact_law_is_found_and_named(exponent: float, name: str) -> None:
    law = power_law(points(exponent))
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law.last == pytest.approx(exponent, abs=1e-9)
    assert law.error == pytest.approx(0, abs=1e-6)
    assert law.seconds(50) == pytest.approx(3 * 50**exponent)
    assert law.name == name


def test_a_fixed_cost_shows_in_the_fit_and_hardly_in_the_last_step() -> None:
    law = power_law([Point(size, 1000 + size, 1, 1) for size in (1, 10, 100, 10**5, 10**6)])
    assert law.exponent < 0.7
    assert law.last == pytest.approx(1, abs=0.01)
    assert law.error > 0.01


def test_four_points_are_too_few() -> None:
    with pytest.raises(ValueError, match="5 points"):
        power_law(points(1)[:4])


def test_a_chart_shows_points_ranges_and_the_line_within_its_axes() -> None:
    law = power_law(points(1))
    root = ElementTree.fromstring(chart(AXES[0], points(1), law))
    name = "{http://www.w3.org/2000/svg}"
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter(f"{name}circle")]
    assert len(circles) == len(SIZES)
    assert circles == sorted(circles, key=lambda place: (place[0], -place[1]))
    assert all(56 <= x <= 708 and 36 <= y <= 316 for x, y in circles)
    texts = ["".join(text.itertext()) for text in root.iter(f"{name}text")]
    assert {"10", "1,000", "records", "CPU, s"} <= set(texts)
    with pytest.raises(ValueError, match="positive"):
        log_chart("", "", "", [(1, 0, 0, 1)], [])
    with pytest.raises(ValueError, match="positive"):
        log_chart("", "", "", [], [])


def test_an_axis_is_measured_at_every_size_and_reported() -> None:
    calls = []

    def work() -> None:
        calls.append(sum(range(20_000)))

    def made(laboratory: Laboratory) -> Iterator[tuple[float, Prepared]]:
        assert laboratory.quick
        for size in SIZES:
            yield size, Prepared(work)

    laboratory = Laboratory(profile("toy"), quick=True)
    axis, found, law = run(Axis("x", "X", "things", made), laboratory)
    assert [point.size for point in found] == list(SIZES)
    assert all(0 < point.low <= point.seconds <= point.high for point in found)
    assert len(calls) >= 4 * len(SIZES)
    text = report(this_machine(), laboratory, [(axis, found, law)])
    assert "| X | things | 1: " in text
    assert "(scaling_x.svg)" in text
    assert "not to be quoted" in text


def test_made_up_records_have_their_shape_and_every_class() -> None:
    data = categorical(500, attributes=3, values=6, classes=7)
    assert data.records.indices.shape == (500, 3)
    assert data.schema.onehot_columns == 18
    assert set(np.asarray(data.records.labels).tolist()) == set(range(7))
    assert (categorical(500).records.indices == categorical(500).records.indices).all()


def test_chunks_of_many_owners_are_all_learnt() -> None:
    few = LargeDeployment(profile("toy"))
    many = few.sharing_keys(3)
    assert many.parameters is few.parameters
    learner = Learner(many, categorical(60), BAYES)
    chunks = [publish_as(learner, f"o{i % 3}", i // 3, learner.data.batch(10, i)) for i in range(6)]
    model = learner.learn(chunks, 6).models[BAYES.model_id].model
    assert dict(model.records_of) == {"o0": 20, "o1": 20, "o2": 20}


def test_the_smallest_points_of_every_axis_run() -> None:
    laboratory = Laboratory(profile("toy"), quick=True)
    for axis in AXES:
        size, prepared = next(iter(axis.points(laboratory)))
        prepared.work()
        assert size > 0, axis.name
    assert len({axis.name for axis in AXES}) == len(AXES)


def test_work_is_timed_on_one_core_and_on_two_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = {3, 5}
    calls: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed))

    def allow(_: int, chosen: set[int]) -> None:
        allowed.clear()
        allowed.update(chosen)

    monkeypatch.setattr(os, "sched_setaffinity", allow)
    pools = []

    def making(pool: ThreadPoolExecutor) -> Work:
        pools.append(pool)
        return lambda: calls.append(set(allowed))

    allow(0, {3, 5})
    found = by_turns("work", making, quick=True)
    assert [pool._max_workers for pool in pools] == [1, 2]
    assert calls == [{3}, {3}, {3, 5}, {3, 5}, {3}, {3, 5}, {3}, {3, 5}]
    assert {number: len(seconds) for number, seconds in found.seconds.items()} == {1: 2, 2: 2}
    assert allowed == {3, 5}
    allow(0, {3})
    with pytest.raises(RuntimeError, match="1 core"), on_cores(2):
        pass


def test_a_second_core_brings_the_median_of_the_turns_ratios() -> None:
    several = CoreTimes("several", {1: [4.0, 9.0, 2.0], 2: [2.0, 3.0, 2.0]})
    once = CoreTimes("once", {1: [3.0], 2: [2.0]})
    text = report(this_machine(), Laboratory(profile("toy")), [], [several, once])
    assert "| several | 4 s (2 s to 9 s) | 2 s (2 s to 3 s) | 2 |" in text
    assert "| once | 3 s | 2 s | 1.5 |" in text
    assert "exponent" not in text


@pytest.mark.parametrize("number", range(3))
def test_what_is_timed_on_cores_runs(number: int) -> None:
    what, making = list(works(Laboratory(profile("toy"), quick=True)))[number]
    with ThreadPoolExecutor(2) as pool:
        making(pool)()
    assert "both units" in what


def test_the_documentation_has_the_table_and_the_charts() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = markers(MARKER)
    table = text[text.index(begin) : text.index(end)]
    for axis in AXES:
        assert f"(scaling_{axis.name}.svg)" in table
        assert (ROOT / "docs" / f"scaling_{axis.name}.svg").stat().st_size < 20_000
