"""Audits and replay as a user runs them, on what a demo left behind."""

import csv
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_output import read_object

pytestmark = pytest.mark.slow

Kept = tuple[Path, dict[str, Any]]


def privml(*command: str, exit_code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", *command, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == exit_code, done.stderr
    return read_object(done.stdout)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("audited")
    with (folder / "things.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["colour", "weight", "kind"])
        for i in range(150):
            writer.writerow([("red", "green", "blue")[i % 3], 1 + i * 7919 % 97, "ab"[i % 7 > 3]])
    report = privml(
        *("demo", "--data", str(folder / "things.csv"), "--profile", "toy", "--insecure", "--owners", "2"),
        *("--queries", "4", "--chunk-size", "20", "--keep", str(folder / "kept")),
    )
    return folder / "kept", report


@pytest.fixture
def copy(kept: Kept, tmp_path: Path) -> Path:
    """Return a copy of the demo's folder, to be changed."""
    # Sockets of processes that are gone cannot be copied.
    shutil.copytree(kept[0], tmp_path / "copy", ignore=shutil.ignore_patterns(".doorbells"))
    return tmp_path / "copy"


def flip_byte(folder: Path, topic: str, offset: int, partition: int = 0) -> None:
    """Change one byte of a stored message with sqlite3, as anybody with the files can."""
    with sqlite3.connect(folder / "topics" / f"demo.{topic}.sqlite") as connection:
        (value,) = connection.execute(
            'SELECT value FROM message WHERE partition = ? AND "offset" = ?', (partition, offset)
        ).fetchone()
        changed = bytearray(value)
        changed[len(changed) // 2] ^= 1
        connection.execute(
            'UPDATE message SET value = ? WHERE partition = ? AND "offset" = ?',
            (bytes(changed), partition, offset),
        )
    connection.close()


def test_what_a_demo_leaves_has_no_findings(kept: Kept) -> None:
    folder, demo = kept
    config = ("--config", str(folder / "privml.toml"))
    public = privml("audit", *config)
    assert (public["ok"], public["findings"], public["skipped"]) == (True, [], [])
    assert public["checked"]["chunks_accepted"] == public["checked"]["receipts"] == demo["chunks"]
    assert public["model"]["matches"] is True
    assert (
        public["model"]["sha256_recorded"] == public["model"]["sha256_recomputed"] == demo["model"]["sha256"]
    )
    quick = privml("audit", "--skip-proofs", *config)
    assert (quick["ok"], quick["skipped"]) == (True, ["proofs"])
    for unit in ("mu", "su"):
        own = privml(unit, "self-audit", *config)
        assert (own["ok"], own["findings"]) == (True, [])
        # Base transfers, a refresh, each query by itself and all of them together.
        assert own["checked"]["sessions_recomputed"] >= 2 + demo["queries"] + 1


def test_a_unit_opens_its_own_keystore_only(kept: Kept) -> None:
    folder, _ = kept
    other = ("--config", str(folder / "privml.toml"), "--keystore", str(folder / "keys" / "mu.key"))
    assert privml("su", "self-audit", *other, exit_code=4)["code"] == "invalid_keystore"


@pytest.mark.parametrize(
    ("topic", "offset", "code"),
    [
        ("chunks", 2, "message_missing"),
        ("journal", 3, "bad_message"),
        ("receipts", 1, "bad_message"),
        ("answers", 0, "bad_message"),
    ],
)
def test_one_changed_byte_is_found(copy: Path, topic: str, offset: int, code: str) -> None:
    flip_byte(copy, topic, offset)
    report = privml("audit", "--config", str(copy / "privml.toml"), exit_code=1)
    assert report["ok"] is False
    assert (code, topic, offset) in {(f["code"], f["topic"], f["offset"]) for f in report["findings"]}


def test_one_changed_byte_of_a_reply_is_found_by_su(copy: Path) -> None:
    with sqlite3.connect(copy / "topics" / "demo.rounds.replies.sqlite") as connection:
        partition, offset = connection.execute('SELECT partition, min("offset") FROM message').fetchone()
    connection.close()
    flip_byte(copy, "rounds.replies", offset, partition)
    report = privml("su", "self-audit", "--config", str(copy / "privml.toml"), exit_code=1)
    assert report["findings"][0]["code"] == "bad_message"


def test_a_replay_gives_the_recorded_model(kept: Kept, tmp_path: Path) -> None:
    folder, demo = kept
    to = ("--config", str(folder / "privml.toml"), "--to", f"log:{tmp_path / 'again'}")
    report = privml("replay", *to)
    assert report["chunks_accepted"] == demo["chunks"]
    assert report["model"]["sha256_replayed"] == demo["model"]["sha256"]
    assert report["model"]["matches"] is True
    assert privml("replay", *to, exit_code=2)["code"] == "usage"
    elsewhere = ("--config", str(folder / "privml.toml"), "--to", f"log:{tmp_path / 'part'}")
    part = privml("replay", *elsewhere, "--chunks", "1:3", "--speed", "recorded")
    assert (part["speed"], part["messages"], part["model"]["matches"]) == ("recorded", 2, None)
