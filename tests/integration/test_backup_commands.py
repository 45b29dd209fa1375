"""`privml backup` and `privml restore` of every role, and backups that are too old."""

import shutil
import stat
from pathlib import Path

import pytest
from integration.deployment import Deployment, Ended, in_process, rows, write_csv

from pipeline.session_ledger import SessionLedger

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def used(template: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Return a tenant with a model and an answered query."""
    made = template.copy(tmp_path_factory.mktemp("used"))
    with made.units():
        made.publish(150)
        made.predict()
    return made


@pytest.fixture
def house(used: Deployment, tmp_path: Path) -> Deployment:
    return used.copy(tmp_path)


def call(capsys: pytest.CaptureFixture[str], house: Deployment, *arguments: str) -> Ended:
    return in_process(capsys, *arguments, "--config", str(house.config))


def wipe(house: Deployment, party: str) -> None:
    """Lose what a party's host had."""
    tenant = house.config.parent
    (tenant / "keys" / f"{party}.key").unlink()
    shutil.rmtree(tenant / "state")


def test_every_party_comes_back_and_works(house: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    parties = ("mu", "su", "a", "c", "authority")
    for party in parties:
        file = house.folder / f"{party}.backup"
        made = call(capsys, house, "backup", str(file), "--party", party)
        assert (made.code, made.object["name"], made.object["bytes"]) == (0, party, file.stat().st_size)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        # Neither a second backup nor a restore replaces what is there.
        again = call(capsys, house, "backup", str(file), "--party", party)
        assert (again.code, again.object["code"]) == (4, "invalid_keystore")
        kept = call(capsys, house, "restore", str(file))
        assert (kept.code, kept.object["code"]) == (4, "invalid_config")
    keys = house.config.parent / "keys"
    before = {party: (keys / f"{party}.key").read_bytes() for party in parties}
    shutil.rmtree(house.config.parent / "state")
    for party in parties:
        (keys / f"{party}.key").unlink()
        back = call(capsys, house, "restore", str(house.folder / f"{party}.backup"))
        assert (back.code, back.object["name"]) == (0, party), back
        assert (keys / f"{party}.key").read_bytes() == before[party]
    with house.units():
        house.publish(100, seed=1)
        assert len(house.predict(seed=5)) == 5


def test_an_older_ledger_of_su_is_refused(house: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = house.folder / "old.backup", house.folder / "new.backup"
    assert call(capsys, house, "backup", str(old), "--party", "su").code == 0
    index = house.folder / "mu.backup"
    assert call(capsys, house, "backup", str(index), "--party", "mu").code == 0
    with house.units():
        house.publish(100, seed=1)
        house.predict(seed=7)
    assert call(capsys, house, "backup", str(new), "--party", "su").code == 0
    for party in ("su", "mu"):
        (house.config.parent / "keys" / f"{party}.key").unlink()
    shutil.rmtree(house.config.parent / "state")
    refused = call(capsys, house, "restore", str(old))
    assert (refused.code, refused.object["code"]) == (7, "log_rolled_back")
    assert not (house.config.parent / "keys" / "su.key").exists()
    assert not list((house.config.parent / "state").glob("*su.ledger*"))
    assert call(capsys, house, "restore", str(new)).code == 0
    # An older index of MU is only behind: what is missing is folded.
    assert call(capsys, house, "restore", str(index)).code == 0
    with house.units():
        assert len(house.predict(seed=8)) == 5
    ledger = SessionLedger(house.config.parent / "state" / "su.ledger")
    assert ledger.marks()
    ledger.close()


def test_a_backup_is_sealed(house: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    file = house.folder / "su.backup"
    assert call(capsys, house, "backup", str(file), "--party", "su").code == 0
    wipe(house, "su")
    data = file.read_bytes()
    other = house.folder / "other"
    other.write_text("wrong\n")
    wrong = call(capsys, house, "restore", str(file), "--passphrase-file", str(other))
    assert (wrong.code, wrong.object["code"]) == (4, "wrong_passphrase")
    for position in (0, 40, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        damaged = call(capsys, house, "restore", str(file))
        assert (damaged.code, damaged.object["code"]) == (4, "invalid_keystore")
    # A keystore is no backup, and a backup no keystore.
    taken = house.config.parent / "keys" / "a.key"
    assert call(capsys, house, "restore", str(taken)).object["code"] == "invalid_keystore"
    file.write_bytes(data)
    file.chmod(0o600)
    assert (
        call(capsys, house, "backup", str(house.folder / "x"), "--party", "su", "--keystore", str(file)).code
        == 4
    )
    file.chmod(0o644)
    assert call(capsys, house, "restore", str(file)).object["code"] == "invalid_keystore"


def test_a_running_party_is_not_copied(house: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    with house.unit("su"):
        refused = call(capsys, house, "backup", str(house.folder / "su.backup"), "--party", "su")
        assert (refused.code, refused.object["code"]) == (4, "invalid_config")
    assert not (house.folder / "su.backup").exists()
    file = write_csv(house.folder / "more.csv", rows(20))
    assert call(capsys, house, "owner", "publish", str(file), "--owner", "a").code == 0
