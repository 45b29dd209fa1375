"""One process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.process_lock import AlreadyRunningError, sole_process

HOLD = """
import sys
from pathlib import Path
from pipeline.process_lock import sole_process
parts = [int(part) for part in sys.argv[2:]] or None
with sole_process(Path(sys.argv[1]), "the first", parts):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "mu.lock"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError) as refused, sole_process(path, "the second"):
            pass
        assert (refused.value.code, refused.value.file) == ("invalid_config", path)
        assert "the second is running already" in str(refused.value)
        # However it dies.
        first.kill()
        first.wait()
        with sole_process(path, "the second"):
            pass
    with sole_process(path, "the third"):
        pass


def test_processes_with_different_parts_run_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "su.lock"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), "0", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with sole_process(path, "the second", [1, 3]):
            pass
        for parts in ([2], [1, 2, 3], range(16)):
            with pytest.raises(AlreadyRunningError), sole_process(path, "the second", parts):
                pass
        first.kill()
        first.wait()
        with sole_process(path, "the second", range(16)):
            pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_process(tmp_path / "lock", "one"):
        raise ZeroDivisionError
    with sole_process(tmp_path / "lock", "two"):
        pass


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), sole_process(tmp_path / "file" / "lock", "one"):
        pass
