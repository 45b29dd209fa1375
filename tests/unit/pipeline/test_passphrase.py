"""Where passphrases come from."""

import os
import pickle
from pathlib import Path

import pytest

from pipeline.passphrase import MAX_PASSPHRASE_BYTES, Passphrase, WrongPassphraseError


@pytest.mark.parametrize(
    "content", [b"open sesame", b"open sesame\n", b"open sesame\r\n", b"open sesame\nsecond line\n"]
)
def test_the_first_line_counts_without_its_end(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    assert Passphrase.from_file(tmp_path / "p").value == b"open sesame"


def test_spaces_belong_to_the_passphrase(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b" a b \n")
    assert Passphrase.from_file(tmp_path / "p").value == b" a b "


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"\nlate", b"x" * (MAX_PASSPHRASE_BYTES + 1)])
def test_an_empty_or_endless_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(WrongPassphraseError):
        Passphrase.from_file(tmp_path / "p")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongPassphraseError) as refused:
        Passphrase.from_file(tmp_path / "p")
    assert str(refused.value.file) == str(tmp_path / "p")
    assert refused.value.code == "wrong_passphrase"


def test_a_pipe_that_delivers_in_pieces_is_read_to_the_end_of_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces = iter([b"open ", b"ses", b"ame\n"])
    monkeypatch.setattr(os, "read", lambda *_: next(pieces))
    assert Passphrase.from_descriptor(3).value == b"open sesame"


def test_a_pipe_without_a_line_end_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"open sesame")
    os.close(writing)
    try:
        assert Passphrase.from_descriptor(reading).value == b"open sesame"
    finally:
        os.close(reading)


def test_a_closed_descriptor_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(WrongPassphraseError):
        Passphrase.from_descriptor(reading)


def test_it_is_neither_shown_nor_pickled() -> None:
    passphrase = Passphrase(b"open sesame")
    assert "sesame" not in repr(passphrase)
    assert "sesame" not in str(passphrase)
    with pytest.raises(TypeError):
        pickle.dumps(passphrase)
