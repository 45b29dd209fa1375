"""Password files: private, drawn once, and refused where others may read them."""

from pathlib import Path

import pytest

from pipeline.kafka_passwords import PasswordFileError, password_path, prepare_passwords, read_password


def test_passwords_are_drawn_once_and_differ(tmp_path: Path) -> None:
    folder = tmp_path / "passwords"
    drawn = prepare_passwords(folder, ["demo.mu", "demo.su"])
    assert [file.drawn for file in drawn] == [True, True]
    first = [read_password(file.path) for file in drawn]
    assert len(set(first)) == 2
    assert all(len(password) == 43 for password in first)
    again = prepare_passwords(folder, ["demo.mu", "demo.su"])
    assert [file.drawn for file in again] == [False, False]
    assert [read_password(file.path) for file in again] == first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_file_others_may_read_is_refused(tmp_path: Path) -> None:
    (file,) = prepare_passwords(tmp_path, ["demo.mu"])
    file.path.chmod(0o640)
    with pytest.raises(PasswordFileError, match="others"):
        read_password(file.path)


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"x" * 2000, b"\xff\xfe"])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes) -> None:
    path = password_path(tmp_path, "demo.mu")
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(PasswordFileError):
        read_password(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PasswordFileError) as refused:
        prepare_passwords(tmp_path / "file", ["demo.mu"])
    assert refused.value.file == tmp_path / "file"
