"""Two benchmark runs compared, on figures that nobody measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare_runs import change_table, compare_reports, main, read_report

ROOT = Path(__file__).parents[2]


def report(
    pm: float = 0.03, profile: str = "standard", **values: float | tuple[float, str]
) -> dict[str, Any]:
    rows = []
    for name, value in values.items():
        figure, unit = value if isinstance(value, tuple) else (value, "PM")
        rows.append({"name": name, "value": figure, "value_unit": unit})
    return {"schema": "privml.bench/1", "profile": profile, "quick": False, "pm_seconds": pm, "rows": rows}


def verdicts(before: dict[str, Any], after: dict[str, Any], tolerance: float = 0.25) -> dict[str, str]:
    return {change.name: change.verdict for change in compare_reports(before, after, tolerance)}


def test_rows_are_compared_by_their_ratio() -> None:
    before = report(a=1, b=1, c=1, d=1, e=1, f=1)
    after = report(a=1.26, b=1.25, c=0.79, d=0.81, e=1, g=2)
    assert verdicts(before, after) == {
        "a": "slower",
        "b": "same",
        "c": "faster",
        "d": "same",
        "e": "same",
        "f": "gone",
        "g": "new",
    }
    assert verdicts(before, after, 0.1)["b"] == "slower"


def test_seconds_count_in_powers_of_their_own_run() -> None:
    assert verdicts(report(0.03, a=(3, "s")), report(0.06, a=(6, "s"))) == {"a": "same"}
    assert verdicts(report(0.03, a=(3, "s")), report(0.03, a=(6, "s"))) == {"a": "slower"}


def test_what_is_no_time_is_left_out() -> None:
    assert verdicts(report(a=(5, "bytes"), b=(1, "")), report(a=(50, "bytes"))) == {}


def test_the_slowest_comes_first_and_ratios_are_shown() -> None:
    changes = compare_reports(report(a=1, b=1, c=1, d=0), report(a=2, b=3, c=1, d=0))
    assert [change.name for change in changes] == ["b", "a", "c", "d"]
    table = change_table(changes)
    assert "x 3.00" in table.splitlines()[0]
    assert table.splitlines()[-1] == "2 slower, 0 faster, 0 new, 0 gone, 2 same"
    assert " c " not in table


def test_runs_of_other_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="profile"):
        compare_reports(report(a=1), report(profile="legacy", a=1))


@pytest.mark.parametrize(("figure", "code"), [(1.0, 0), (0.1, 0), (2.0, 1)])
def test_the_exit_code_says_whether_something_got_slower(
    figure: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "committed.json", tmp_path / "fresh.json"]
    for path, value in zip(paths, (1.0, figure), strict=True):
        path.write_text(json.dumps(report(a=value)))
    assert main([str(paths[1]), "--committed", str(paths[0])]) == code
    assert ("slower  a" in capsys.readouterr().out) == bool(code)


def test_a_run_is_as_fast_as_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "docs" / "benchmarks.json")]) == 0
    assert capsys.readouterr().out.startswith("0 slower, 0 faster, 0 new, 0 gone, ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "privml.demo/1"}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"no benchmark|Expecting"):
        read_report(path)
    with pytest.raises(SystemExit):
        main([str(path)])
