"""The benchmark report, on rows that nobody measured."""

import json
from pathlib import Path

import pytest

from benchmarks.end_to_end import Demo, demo_rows
from benchmarks.machine import this_machine
from benchmarks.measure import Benchmark, PowerMeter, Prepared, Row, measure
from benchmarks.report import BEGIN, END, SCHEMA, Report, number_text, seconds_text, write_docs
from crypto.counting import count

ROWS = (
    Row(
        "primitive.open",
        "Open one",
        "ciphertext",
        0.184,
        target=0.2,
        cpu_seconds=0.0062,
        cpu_range=(0.006, 0.012),
        wall_seconds=0.0123456789,
        pm_seconds=0.0337,
        repetitions=7,
        counts={"powers_short": 2},
        note="both halves",
    ),
    Row("nb.query", "Query", "row", 3.5, target=3, cpu_seconds=1.0, wall_seconds=1.0),
    Row("demo.agreement", "Agreement", "run", 0.99, "", target=1.0, at_least=True),
    Row("demo.memory", "Memory", "run", 123456789, "bytes"),
)


def report(*rows: Row, quick: bool = False) -> Report:
    return Report(this_machine(), "standard", "none", quick, 0.0337, rows)


def test_json_has_every_row_and_says_which_targets_are_met() -> None:
    found = json.loads(report(*ROWS).json())
    assert found["schema"] == SCHEMA
    assert found["pm_seconds"] == 0.0337
    assert {"cpu", "cores", "python", "libraries"} <= set(found["machine"])
    assert [row["met"] for row in found["rows"]] == [True, False, False, None]
    assert found["rows"][0]["counts"] == {"powers_short": 2}
    assert found["rows"][0]["wall_seconds"] == 0.0123457
    assert [row.name for row in report(*ROWS).missed] == ["nb.query", "demo.agreement"]


def test_tables_show_figures_targets_and_wide_ranges() -> None:
    text = report(*ROWS).markdown()
    assert (
        "| Open one | ciphertext | 6.2 ms | 12.3 ms | 0.184 | ≤ 0.2 met "
        "| 6 ms to 12 ms; 2 short powers; both halves |" in text
    )
    assert "≤ 3 **missed**" in text
    assert "≥ 1 **missed**" in text
    assert "| Memory | 123,456,789 bytes |  |  |" in text
    assert "--quick" not in text
    assert "--quick" in report(quick=True).markdown()


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_docs(page, report(*ROWS))
    first = page.read_text(encoding="utf-8")
    assert first.startswith(f"before\n{BEGIN}\n")
    assert first.endswith(f"{END}\nafter\n")
    assert "Open one" in first
    assert "old" not in first
    write_docs(page, report(*ROWS))
    assert page.read_text(encoding="utf-8") == first
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="markers"):
        write_docs(page, report(*ROWS))
    assert page.read_text(encoding="utf-8") == "no markers"


def test_the_documentation_has_a_place_for_the_figures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert 0 < text.find(BEGIN) < text.find(END)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(75.0, "75 s"), (1.5, "1.5 s"), (0.0337, "33.7 ms"), (0.000284, "284 µs"), (0.0, "0 µs")],
)
def test_durations_have_a_fitting_unit(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.000235, "0.000235"), (0.00001, "0.00001"), (12345.6, "12,346"), (2.0, "2")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number_text(value) == text


def test_counts_and_seconds_are_per_unit_whatever_is_repeated() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        count(cots=30)

    row = measure(
        Benchmark("block.x", "x", "row", lambda: Prepared(work, units=10)), PowerMeter(512), quick=True
    )
    assert row.counts == {"cots": 3}
    assert row.repetitions == 2
    assert len(calls) > 4
    assert row.cpu_seconds is not None
    assert row.pm_seconds
    assert row.value == pytest.approx(row.cpu_seconds / row.pm_seconds)


def test_what_does_not_count_is_taken_off_and_wall_time_can_be_the_figure() -> None:
    row = measure(
        Benchmark(
            "lr.x",
            "x",
            "pass",
            lambda: Prepared(lambda: count(ands=70), 2, less=lambda: count(ands=10)),
            by_wall=True,
        ),
        PowerMeter(512),
        quick=True,
    )
    assert row.counts == {"ands": 30}
    assert row.wall_seconds is not None
    assert row.pm_seconds
    assert row.value == pytest.approx(row.wall_seconds / row.pm_seconds)


def test_times_and_other_figures_of_a_group_have_a_table_each() -> None:
    sizes = Row("lr.bytes", "Bytes", "", 10667, "bytes", target=12000)
    text = report(
        Row("lr.pass", "Pass", "record", 0.005, cpu_seconds=1.0, wall_seconds=1.0), sizes
    ).markdown()
    times, others = text.split("### Logistic regression")[1].strip().split("\n\n")
    assert times.endswith("| Pass | record | 1 s | 1 s | 0.005 |  |  |")
    assert others.endswith("| Bytes | 10,667 bytes | ≤ 12,000 met |  |")


def test_the_rows_of_a_demo_leave_out_what_it_leaves_null() -> None:
    found = {
        "schema": "privml.demo/1",
        "data": {"name": "x", "rows": 569, "features_onehot": 300, "classes": 2, "sha256": ""},
        "pm_seconds": 0.03,
        "rows_trained": 455,
        "chunks": 3,
        "queries": 100,
        "accuracy": 0.95,
        "twin_agreement": 1.0,
        "sklearn_accuracy": 0.952,
        "keygen_seconds": 9.0,
        "owner_encrypt_seconds": 0.1,
        "train_seconds": 0.5,
        "train_cpu_seconds": {"mu": 0.2, "su": 0.0},
        "refresh_seconds": 0.3,
        "query_seconds_median": 0.2,
        "query_seconds_p95": None,
        "query_batch_seconds_each": 0.01,
        "peak_rss_bytes": {"mu": 500_000_000, "su": 100_000_000},
        "bytes_owner_to_mu": 1,
        "bytes_mu_su": 2,
        "bytes_client": 3,
        "rounds_per_query": 3,
    }
    rows = {row.name: row for row in demo_rows(Demo("breast_cancer", found, 60.0, 80.0))}
    assert rows["demo.breast_cancer_wall"].value == pytest.approx(2000)
    assert rows["demo.breast_cancer_wall"].met
    assert "demo.breast_cancer_query_p95" not in rows
    assert rows["demo.breast_cancer_memory_mu"].met is False
    assert rows["demo.breast_cancer_accuracy_apart"].met
    nursery = demo_rows(Demo("nursery", {**found, "sklearn_accuracy": None}, 60.0, 80.0))
    assert nursery[0].target is None
    assert not [row for row in nursery if row.name.endswith("apart")]
    assert "Nursery" in report(*nursery).markdown()
