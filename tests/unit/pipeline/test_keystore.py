"""One role's secrets in one encrypted file."""

import copy
import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.keystore import (
    INSECURE_TEST_DERIVATION,
    MAGIC,
    MAX_FILE_BYTES,
    STANDARD_DERIVATION,
    KeyDerivation,
    Keystore,
    KeystoreError,
    KeystoreHeader,
)
from pipeline.named_secrets import Secrets
from pipeline.passphrase import Passphrase, WrongPassphraseError

HEADER = KeystoreHeader(
    role="mu", tenant="ward", party="mu", key_epoch=3, derivation=INSECURE_TEST_DERIVATION
)
PASSPHRASE = Passphrase(b"open sesame")
CANARY = b"canary-7f3a"
SECRETS = {"theta": CANARY, "seed": bytes(range(32))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "mu.key"
    Keystore.create(file, HEADER, SECRETS, PASSPHRASE)
    return file


def rewrite_header(path: Path, **changes: Any) -> None:
    """Change header fields as an attacker would, who can also mend the checksum."""
    data = path.read_bytes()
    start = len(MAGIC) + 4
    end = start + struct.unpack_from(">I", data, len(MAGIC))[0]
    fields = {**msgpack.unpackb(data[start:end]), **changes}
    header = msgpack.packb({name: fields[name] for name in sorted(fields)})
    body = MAGIC + struct.pack(">I", len(header)) + header + data[end:-32]
    path.write_bytes(body + hashlib.sha256(body).digest())


def mend_checksum(data: bytes) -> bytes:
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def test_what_was_stored_is_found(path: Path) -> None:
    store = Keystore.open(path, PASSPHRASE)
    assert dict(store.secrets) == SECRETS
    assert store.header == HEADER


def test_the_file_is_private_and_tells_nothing(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    data = path.read_bytes()
    assert CANARY not in data
    assert b"theta" not in data
    assert b"sesame" not in data


def test_standard_cost_is_the_default_and_opens(tmp_path: Path) -> None:
    header = KeystoreHeader(role="su", tenant="ward", party="su", key_epoch=1)
    assert header.derivation == STANDARD_DERIVATION
    assert not STANDARD_DERIVATION.insecure
    Keystore.create(tmp_path / "su.key", header, SECRETS, PASSPHRASE)
    assert Keystore.open(tmp_path / "su.key", PASSPHRASE).header.derivation == STANDARD_DERIVATION


def test_same_passphrase_and_secrets_never_give_the_same_file(path: Path, tmp_path: Path) -> None:
    Keystore.create(tmp_path / "other.key", HEADER, SECRETS, PASSPHRASE)
    assert (tmp_path / "other.key").read_bytes()[-200:] != path.read_bytes()[-200:]


def test_an_existing_keystore_is_never_replaced(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeystoreError, match="exists") as refused:
        Keystore.create(path, HEADER, {}, Passphrase(b"other"))
    assert refused.value.code == "invalid_keystore"
    assert path.read_bytes() == before


def test_a_wrong_passphrase_is_told_apart_from_damage(path: Path) -> None:
    with pytest.raises(WrongPassphraseError) as refused:
        Keystore.open(path, Passphrase(b"open sesam"))
    assert refused.value.code == "wrong_passphrase"
    assert str(refused.value.file) == str(path)


def test_every_flipped_byte_is_damage_not_a_wrong_passphrase(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(KeystoreError) as refused:
            Keystore.open(path, PASSPHRASE)
        assert refused.value.code == "invalid_keystore"


def test_no_flipped_byte_passes_with_a_mended_checksum(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(len(whole) - 32):
        flipped = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        path.write_bytes(mend_checksum(flipped))
        with pytest.raises((KeystoreError, WrongPassphraseError)):
            Keystore.open(path, PASSPHRASE)


def test_cut_files_are_damage(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(KeystoreError):
            Keystore.open(path, PASSPHRASE)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_reason(path: Path, data: bytes) -> None:
    path.write_bytes(mend_checksum(MAGIC + data + bytes(32)))
    with pytest.raises(KeystoreError):
        Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "changes", [{"party": "su"}, {"tenant": "other"}, {"key_epoch": 4}, {"role": "su"}, {"extra": 1}]
)
def test_the_readable_header_cannot_be_changed(path: Path, changes: dict[str, Any]) -> None:
    rewrite_header(path, **changes)
    with pytest.raises(KeystoreError, match="damaged"):
        Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_kib": 1 << 30},
        {"iterations": 1 << 40},
        {"lanes": 1000},
        {"lanes": 0},
        {"memory_kib": 64, "insecure": False},
        {"memory_kib": True},
        {"salt": b""},
        {"key_epoch": "3"},
        {"role": 1},
    ],
)
def test_a_forged_cost_or_type_is_refused_before_any_work(
    path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> bytes:
        raise AssertionError("derived a key for a forged header")

    monkeypatch.setattr("pipeline.keystore._derive", forbidden)
    rewrite_header(path, **changes)
    with pytest.raises(KeystoreError):
        Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize("cost", [(1024, 3, 1), (64 * 1024, 1, 1), (1 << 21, 3, 1), (64 * 1024, 3, 5)])
def test_costs_out_of_bounds_cannot_be_built(cost: tuple[int, int, int]) -> None:
    with pytest.raises(KeystoreError):
        KeyDerivation(*cost)


def test_a_file_others_may_read_is_refused_with_the_remedy(path: Path) -> None:
    path.chmod(0o640)
    with pytest.raises(KeystoreError, match="other users") as refused:
        Keystore.open(path, PASSPHRASE)
    assert refused.value.hint == f"run: chmod 600 {path}"


def test_a_missing_file_and_a_folder_are_invalid_keystores(tmp_path: Path) -> None:
    for wrong in (tmp_path / "absent.key", tmp_path):
        with pytest.raises(KeystoreError):
            Keystore.open(wrong, PASSPHRASE)


def test_an_endless_file_is_not_read(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 2)
    with pytest.raises(KeystoreError, match="at most"):
        Keystore.open(path, PASSPHRASE)


def test_update_needs_no_passphrase_and_survives_reopening(path: Path) -> None:
    store = Keystore.open(path, PASSPHRASE)
    store.update(epoch_seed=b"new", seed=b"replaced")
    store.update(base_ots=b"later")
    expected = {**SECRETS, "epoch_seed": b"new", "seed": b"replaced", "base_ots": b"later"}
    assert dict(store.secrets) == expected
    assert dict(Keystore.open(path, PASSPHRASE).secrets) == expected
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["mu.key"]


def test_a_created_keystore_can_be_updated_at_once(tmp_path: Path) -> None:
    store = Keystore.create(tmp_path / "mu.key", HEADER, SECRETS, PASSPHRASE)
    store.update(more=b"x")
    assert Keystore.open(tmp_path / "mu.key", PASSPHRASE).secrets["more"] == b"x"


def test_an_update_draws_a_new_nonce(path: Path) -> None:
    store = Keystore.open(path, PASSPHRASE)
    files = set()
    for _ in range(4):
        files.add(path.read_bytes())
        store.update(seed=SECRETS["seed"])
    assert len(files) == 4


def test_two_processes_cannot_overwrite_each_others_updates(path: Path) -> None:
    first, second = Keystore.open(path, PASSPHRASE), Keystore.open(path, PASSPHRASE)
    first.update(epoch_seed=b"first")
    with pytest.raises(KeystoreError, match="another process"):
        second.update(epoch_seed=b"second")
    assert Keystore.open(path, PASSPHRASE).secrets["epoch_seed"] == b"first"


def test_what_another_process_added_is_read_again_without_the_passphrase(path: Path) -> None:
    running, other = Keystore.open(path, PASSPHRASE), Keystore.open(path, PASSPHRASE)
    other.update(**{"seed.2": b"of the next key epoch"})
    assert "seed.2" not in running.secrets
    assert running.reread()["seed.2"] == b"of the next key epoch"
    running.update(base_ots=b"kept")
    assert {"seed.2", "base_ots"} < set(Keystore.open(path, PASSPHRASE).secrets)
    path.unlink()
    with pytest.raises(KeystoreError):
        running.reread()
    Keystore.create(path, HEADER, SECRETS, Passphrase(b"another one"))
    with pytest.raises(WrongPassphraseError):
        running.reread()


def test_a_failed_update_changes_neither_file_nor_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Keystore.open(path, PASSPHRASE)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeystoreError, match="No space"):
            store.update(seed=b"lost")
    assert path.read_bytes() == before
    assert dict(store.secrets) == SECRETS
    store.update(seed=b"kept")
    assert Keystore.open(path, PASSPHRASE).secrets["seed"] == b"kept"


def test_secrets_and_keystores_are_neither_shown_nor_pickled_nor_copied(path: Path) -> None:
    store = Keystore.open(path, PASSPHRASE)
    for holder in (store, store.secrets):
        for text in (repr(holder), str(holder), f"{holder}"):
            assert "canary" not in text
            assert CANARY.hex() not in text
        with pytest.raises(TypeError):
            pickle.dumps(holder)
        with pytest.raises(TypeError):
            copy.deepcopy(holder)


def test_secrets_are_bytes_under_text() -> None:
    with pytest.raises(TypeError) as refused:
        Secrets({"theta": "canary"})  # type: ignore[dict-item]
    assert "canary" not in str(refused.value)


def test_secrets_do_not_follow_the_mapping_they_were_made_from() -> None:
    values = {"theta": b"1"}
    secrets = Secrets(values)
    values["theta"] = b"2"
    assert secrets["theta"] == b"1"


def test_no_error_names_a_secret(path: Path) -> None:
    rewrite_header(path, party="su")
    with pytest.raises(KeystoreError) as refused:
        Keystore.open(path, PASSPHRASE)
    shown = repr(refused.value) + repr(refused.value.__dict__) + repr(refused.value.__cause__)
    assert "canary" not in shown
    assert "sesame" not in shown
