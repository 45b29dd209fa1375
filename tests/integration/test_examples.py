"""The examples run as they stand; every model answers as its twin does, and learns the same once more."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_output import read_object

from pipeline.commands.main import main
from pipeline.csv_input import read_query_file, read_training_file
from pipeline.model_options import parse_models
from roles.encoding import EncodedRecords
from roles.twins import twin_of
from schemas.schema_toml import load_schema

EXAMPLES = Path(__file__).parents[2] / "examples"
WEATHER = EXAMPLES / "weather"
MODELS = ("nb", "lr:rate=8,passes=4", "dt:grace=7,tau=1")


def run(script: Path, folder: Path) -> str:
    """Run an example and return what it prints."""
    own = {name: value for name, value in os.environ.items() if name != "PRIVML_CONFIG"}
    shell = subprocess.Popen(
        [script, folder],
        env={**own, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = shell.communicate(timeout=240)
    finally:
        if shell.returncode != 0:
            # Of an example that failed the units still run; the group is the shell's own.
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, stderr
    return stdout


@pytest.fixture(scope="module")
def three_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the example of three models; return its folder and what it printed."""
    folder = tmp_path_factory.mktemp("example") / "made"
    return folder, run(EXAMPLES / "three_models.sh", folder)


@pytest.mark.slow
def test_three_models_learn_from_one_stream(three_models: tuple[Path, str]) -> None:
    folder, stdout = three_models
    script = (EXAMPLES / "three_models.sh").read_text()
    assert all(f"--classifier {model}" in script for model in MODELS)
    assert stdout.count("dt: learnt; lr: learnt") == 2
    schema = load_schema((WEATHER / "schema.toml").read_text())
    chunks = [next(iter(read_training_file(WEATHER / name, schema))) for name in ("a.csv", "b.csv")]
    rows = [row.indices for row in read_query_file(WEATHER / "queries.csv", schema)]
    queries = EncodedRecords(np.array(rows, dtype=np.int32))
    for spec in parse_models(MODELS, schema.class_count):
        twin = twin_of(spec, schema, 1 << 24)
        assert all(twin.learn(chunk) for chunk in chunks)
        expected = [schema.label.labels[label] for label in twin.predict(queries)]
        with (folder / f"{spec.model_id}.csv").open(newline="") as file:
            assert [row["label"] for row in csv.DictReader(file)] == expected


def replay(
    capsys: pytest.CaptureFixture[str], made: Path, to: Path, *options: str, exit_code: int = 0
) -> dict[str, Any]:
    """Replay the example's stream and return the one object printed."""
    config = str(made / "tenant" / "privml.toml")
    ended = 0
    try:
        ended = main(["replay", "--config", config, "--to", f"log:{to}", "--json", *options])
    except SystemExit as error:
        ended = int(error.code or 0)
    printed = capsys.readouterr()
    assert ended == exit_code, printed.err
    return read_object(printed.out)


@pytest.mark.slow
def test_a_fresh_tenant_learns_the_same_once_more(
    three_models: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = three_models
    data = ("--data", f"a={WEATHER / 'a.csv'}", "--data", f"b={WEATHER / 'b.csv'}")
    whole = replay(capsys, made, tmp_path / "whole", *data, "--keep", str(tmp_path / "kept"))
    assert (whole["reencrypted"], whole["chunks_accepted"], whole["records"]) == (True, 2, 14)
    assert [model["id"] for model in whole["models"]] == ["nb", "lr", "dt"]
    for model in whole["models"]:
        assert (model["chunks"], model["matches"], model["twin_agreement"]) == (2, True, 1)
        assert model["sha256_replayed"] is None
        assert 0 < model["learnt_seconds_median"] <= whole["seconds"]
    assert min(unit["cpu_seconds"] for unit in whole["units"].values()) > 0
    assert min(whole["bytes_mu_su"], whole["encrypt_seconds"]) > 0
    assert main(["audit", "--config", str(tmp_path / "kept" / "privml.toml")]) == 0
    part = replay(capsys, made, tmp_path / "part", *data, "--chunks", "1:2", "--speed", "recorded")
    assert (part["speed"], part["chunks_accepted"], part["records"]) == ("recorded", 1, 7)
    assert {model["matches"] for model in part["models"]} == {None}
    assert {model["twin_agreement"] for model in part["models"]} <= {1, None}
    # It goes nowhere where something is, says which files it needs, and starts nothing before it has looked.
    assert replay(capsys, made, tmp_path / "whole", *data, exit_code=2)["code"] == "usage"
    new = tmp_path / "new"
    for options in ((), data[:2], (*data[:2], *data)):
        refused = replay(capsys, made, new, *options, exit_code=2)
        assert refused["code"] == "usage"
        assert "--data" in refused["hint"] or "in the order" in refused["hint"]
    missing = ("--data", f"a={tmp_path / 'missing.csv'}", *data[2:])
    assert replay(capsys, made, new, *missing, exit_code=3)["code"] == "unreadable_file"
    assert not any(new.glob("*.sqlite"))
