"""The outbox: numbers taken once, bytes that never change, and files that go on where they stopped."""

import errno
from pathlib import Path

import pytest
from doubles import seeded_coins
from tenants import signing_key

from pipeline import outbox as outbox_module
from pipeline.errors import StorageError, StorageFullError
from pipeline.outbox import NotPublishedError, Outbox, file_digest
from schemas.parts import seal_parts


def wires(number: int, size: int = 50, limit: int = 1000) -> list[bytes]:
    return seal_parts(
        tenant="small",
        topic="chunks",
        sender="a",
        key_epoch=1,
        sequence=number,
        kind="chunk",
        body=seeded_coins(number).bytes(size),
        signing_key=signing_key("owner"),
        limit=limit,
    )


def test_messages_come_back_as_they_were_stored(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    given = [wires(0), wires(1, 5000, 700), wires(2, 0)]
    for number, message in enumerate(given):
        assert outbox.next_sequence() == number
        assert outbox.store(message).wires == tuple(message)
    again = Outbox(tmp_path / "outbox")
    assert again.next_sequence() == 3
    for number, message in enumerate(given):
        stored = again.message(number)
        assert stored.wires == tuple(message)
        assert again.sequence_of(stored.message_hash) == number
    with pytest.raises(NotPublishedError):
        again.sequence_of(bytes(32))


def test_a_number_is_taken_once(tmp_path: Path) -> None:
    first, second = Outbox(tmp_path), Outbox(tmp_path)
    first.store(wires(0))
    with pytest.raises(StorageError):
        second.store(wires(0, 60))
    assert Outbox(tmp_path).message(0).wires == tuple(wires(0))


def test_what_was_not_noted_as_sent_is_unsent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for number in range(4):
        outbox.store(wires(number))
    outbox.mark_sent(0)
    outbox.mark_sent(2)
    outbox.mark_sent(2)
    assert Outbox(tmp_path).unsent() == [1, 3]


def test_a_run_goes_on_until_it_is_finished(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.store(wires(0))
    source, other = b"s" * 32, b"o" * 32
    run = outbox.begin(source, 7)
    assert (run.receipts_from, run.stored) == (7, {})
    outbox.store(wires(1), run, 0)
    outbox.store(wires(2))  # a withdrawal in between
    outbox.store(wires(3), outbox.begin(other, 9), 0)
    outbox.store(wires(4), run, 1)
    taken_up = Outbox(tmp_path).begin(source, 99)
    assert taken_up.name == run.name
    assert (taken_up.receipts_from, taken_up.stored) == (7, {0: 1, 1: 4})
    assert Outbox(tmp_path).begin(other, 99).stored == {0: 3}
    outbox.finish(source)
    outbox.finish(source)
    anew = Outbox(tmp_path).begin(source, 99)
    assert (anew.receipts_from, anew.stored) == (99, {})
    assert anew.name != run.name


def test_a_file_is_another_source_when_it_or_its_chunks_change(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,2\n")
    digest = file_digest(path, 100)
    assert digest == file_digest(path, 100)
    assert digest != file_digest(path, 10)
    path.write_bytes(b"a,b\n1,3\n")
    assert digest != file_digest(path, 100)
    with pytest.raises(StorageError):
        file_digest(tmp_path / "none.csv", 100)


def test_no_room_leaves_the_number_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(outbox_module, "write_private", full)
        with pytest.raises(StorageFullError) as refused:
            outbox.store(wires(0))
        assert refused.value.code == "storage_full"
    assert not list(tmp_path.iterdir())
    assert outbox.store(wires(0)).sequence == 0


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"\x00" * 7 + b"\x09" + b"short"])
def test_damage_is_told(tmp_path: Path, damage: bytes) -> None:
    outbox = Outbox(tmp_path)
    outbox.store(wires(0))
    (tmp_path / "000000000000.chunk").write_bytes(damage)
    with pytest.raises(StorageError):
        outbox.message(0)
    with pytest.raises(StorageError):
        outbox.sequence_of(bytes(32))
    outbox.begin(b"s" * 32, 0)
    (tmp_path / f"{(b's' * 32).hex()}.run").write_text("first")
    with pytest.raises(StorageError):
        outbox.begin(b"s" * 32, 0)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        Outbox(tmp_path / "file" / "outbox")
