"""The demo as a user runs it, small: one CSV file in, private answers out."""

import csv
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from command_output import read_object

pytestmark = pytest.mark.slow

COLOURS = ("red", "green", "blue")


def write_data(path: Path, rows: int = 240) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["colour", "weight", "size", "kind"])
        for i in range(rows):
            weight = 1 + (i * 7919) % 997 / 10
            kind = "heavy" if weight > 50 or i % 11 == 0 else "light"
            writer.writerow([COLOURS[i % 3], weight, "" if i % 17 == 0 else i % 4, kind])


def privml(*command: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ}
    if config is not None:
        environment["PRIVML_CONFIG"] = str(config)
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    write_data(folder / "things.csv")
    done = privml(
        *("demo", "--data", str(folder / "things.csv"), "--profile", "toy", "--insecure"),
        *("--queries", "12", "--chunk-size", "40", "--keep", str(folder / "kept"), "--json"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "kept", read_object(done.stdout)


def test_every_answer_is_the_twins(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, report = kept
    assert report["twin_agreement"] == 1
    assert report["rows_trained"] == 192
    assert report["rejected"] == report["dead_letters"] == 0
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert all(row["encrypted"] == row["twin"] for row in rows)
    truth = (folder / "test.csv").read_text().splitlines()
    assert all(truth[int(row["line"]) - 1].endswith(f",{row['truth']}") for row in rows)
    right = sum(row["encrypted"] == row["truth"] for row in rows)
    assert report["accuracy"] == pytest.approx(right / 12)


def test_the_folder_holds_what_a_checker_needs(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, report = kept
    for name in ("privml.toml", "keys", "topics", "train.csv", "test.csv", "predictions.csv", "demo.json"):
        assert (folder / name).exists(), name
    assert json.loads((folder / "demo.json").read_text()) == report


def test_every_role_was_a_process_that_saw_only_its_topics(kept: tuple[Path, dict[str, Any]]) -> None:
    _, report = kept
    assert {(view["party"], view["topic"]) for view in report["views"]} == {
        ("mu", "chunks"),
        ("mu", "config"),
        ("mu", "queries"),
        ("mu", "rounds.replies"),
        ("su", "heads"),
        ("su", "queries"),
        ("su", "rounds.requests"),
        ("owner-1", "receipts"),
        ("owner-2", "receipts"),
        ("owner-3", "receipts"),
        ("client", "answers"),
    }


def test_the_model_can_be_recomputed_from_public_data(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, report = kept
    config = folder / "privml.toml"
    model = read_object(privml("inspect", "model", "--json", config=config).stdout)
    assert (model["sha256"], model["version"]) == (report["model"]["sha256"], report["model"]["version"])
    entries = read_object(privml("inspect", "journal", "--json", config=config).stdout)["entries"]
    accepted = [entry for entry in entries if entry["kind"] == "accept"]
    assert len(accepted) == report["chunks"] == 6
    assert all(entry["previous"] == before["id"] for before, entry in pairwise(entries))
    chunk_id = accepted[0]["message_id"]
    chunk = read_object(privml("inspect", "chunk", chunk_id, "--json", config=config).stdout)
    assert chunk["records"] == accepted[0]["records"]
    topics = read_object(privml("inspect", "topics", "--json", config=config).stdout)["topics"]
    assert {topic["topic"]: topic["messages"] for topic in topics}["demo.chunks"] == 6


def test_wrong_usage_is_said_before_anything_starts(tmp_path: Path) -> None:
    write_data(tmp_path / "things.csv", 40)
    data = str(tmp_path / "things.csv")
    for options, exit_code in (
        (("--data", data, "--label", "nothing"), 2),
        (("--data", data, "--classifier", "oracle"), 2),
        (("--data", data, "--keep", str(tmp_path)), 2),
        (("--data", str(tmp_path / "missing.csv")), 3),
        (("--data", data, "--profile", "toy"), 2),
    ):
        done = privml("demo", *options, "--json")
        assert done.returncode == exit_code, (options, done.stderr)
        assert read_object(done.stdout)["schema"] == "privml.error/1"
