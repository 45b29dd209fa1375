"""Lines of what grows: nothing is lost, half a line waits, and being told to stop ends it."""

import os
import threading
from io import FileIO
from pathlib import Path

import pytest

from pipeline import followed_file
from pipeline.followed_file import FollowedFile

LIMIT = 1 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_file, "LOOK_SECONDS", 0.01)


def test_a_growing_file_gives_lines_as_they_are_completed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"one\ntw")
    source = FollowedFile.open(path, grows=True)
    read: list[bytes] = []
    enough = threading.Event()

    def work() -> None:
        while line := source.readline(LIMIT):
            read.append(line)
            if len(read) == 3:
                enough.set()

    assert source.has_line()
    reader = threading.Thread(target=work)
    reader.start()
    with path.open("ab") as writer:
        writer.write(b"o\nthree\nhal")
    assert enough.wait(30)
    source.stop()
    reader.join(30)
    assert not reader.is_alive()
    source.close()
    assert read == [b"one\n", b"two\n", b"three\n"]


def test_a_pipe_ends_with_its_writer_and_its_last_line_needs_no_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo")
    os.close(writing)
    source = FollowedFile(FileIO(reading), grows=True)
    assert [source.readline(LIMIT) for _ in range(3)] == [b"one\n", b"two", b""]
    source.close()


def test_a_file_that_does_not_grow_ends_and_long_lines_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x" * 10 + b"\ny")
    source = FollowedFile.open(path, grows=False)
    assert [source.readline(4) for _ in range(5)] == [b"xxxx", b"xxxx", b"xx\n", b"y", b""]
    source.close()


def test_an_open_pipe_without_data_can_be_left() -> None:
    reading, writing = os.pipe()
    source = FollowedFile(FileIO(reading), grows=True)
    assert not source.has_line()
    os.write(writing, b"half")
    threading.Timer(0.05, source.stop).start()
    assert source.readline(LIMIT) == b""
    source.close()
    os.close(writing)
