"""The examples run as they stand, and every model answers as its plaintext twin does."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.slow
def test_three_models_learn_from_one_stream(tmp_path: Path) -> None:
    script = (EXAMPLES / "three_models.sh").read_text()
    assert all(f"--classifier {model}" in script for model in MODELS)
    stdout = run(EXAMPLES / "three_models.sh", tmp_path / "made")
    assert stdout.count("dt: learnt; lr: learnt") == 2
    schema = load_schema((WEATHER / "schema.toml").read_text())
    chunks = [next(iter(read_training_file(WEATHER / name, schema))) for name in ("a.csv", "b.csv")]
    rows = [row.indices for row in read_query_file(WEATHER / "queries.csv", schema)]
    queries = EncodedRecords(np.array(rows, dtype=np.int32))
    for spec in parse_models(MODELS, schema.class_count):
        twin = twin_of(spec, schema, 1 << 24)
        assert all(twin.learn(chunk) for chunk in chunks)
        expected = [schema.label.labels[label] for label in twin.predict(queries)]
        with (tmp_path / "made" / f"{spec.model_id}.csv").open(newline="") as file:
            assert [row["label"] for row in csv.DictReader(file)] == expected
