"""Files that nobody else may read, replaced at once."""

import os
from pathlib import Path

import pytest

from pipeline.private_file import LoosePermissionsError, read_private, write_private


def test_what_was_written_is_read_and_private(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    write_private(path, b"first", exclusive=True)
    write_private(path, b"second", exclusive=False)
    assert read_private(path, limit=100) == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["mark"]


def test_a_wide_umask_does_not_open_the_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_private(tmp_path / "mark", b"x", exclusive=True)
    finally:
        os.umask(old)
    assert (tmp_path / "mark").stat().st_mode & 0o777 == 0o600


def test_an_exclusive_write_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    write_private(path, b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_private(path, b"second", exclusive=True)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["mark"]


def test_a_failed_replacement_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mark"
    write_private(path, b"first", exclusive=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"second", exclusive=False)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["mark"]


def test_content_and_name_are_synced_before_the_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        # At the first call the name must still be missing: content before name.
        synced.append((tmp_path / "mark").exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    write_private(tmp_path / "mark", b"x", exclusive=True)
    assert synced == [False, True]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "mark"
    write_private(path, b"x", exclusive=True)
    path.chmod(mode)
    with pytest.raises(LoosePermissionsError):
        read_private(path, limit=100)


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mark", 0o600)
    with pytest.raises(OSError, match="regular file"):
        read_private(tmp_path / "mark", limit=100)


def test_reading_stops_one_byte_after_the_limit(tmp_path: Path) -> None:
    write_private(tmp_path / "mark", bytes(1000), exclusive=True)
    assert len(read_private(tmp_path / "mark", limit=10)) == 11
