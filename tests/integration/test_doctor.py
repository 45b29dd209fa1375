"""What `privml doctor` finds: nothing in a sound set-up, and each fault by its name."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.deployment import Deployment, in_process
from integration.services import House

from pipeline import doctor_host
from pipeline.doctor_finding import Status
from pipeline.doctor_units import check_heads, check_refused_rounds, clock_finding
from schemas.codec import encode
from schemas.heads import Head
from schemas.reasons import ExitCode
from schemas.topics import TopicName

Checks = dict[str, tuple[str, str, str | None]]


@pytest.fixture
def sound(deployment: Deployment) -> Deployment:
    """Return a tenant whose files are closed as they should be."""
    (deployment.folder / "T" / "passphrase").chmod(0o600)
    deployment.config.chmod(0o644)
    (deployment.folder / "T" / "topics").chmod(0o755)
    return deployment


def examined(capsys: pytest.CaptureFixture[str], deployment: Deployment, *more: str) -> Checks:
    """Run the doctor and return (status, detail, hint) by check."""
    ended = in_process(capsys, "doctor", "--config", str(deployment.config), *more)
    checks = {
        found["check"]: (found["status"], found["detail"], found["hint"]) for found in ended.object["checks"]
    }
    failed = [check for check, (status, _, _) in checks.items() if status == "failed"]
    assert ended.object["ok"] is not bool(failed)
    assert ended.code == (ExitCode.CHECK_FAILED if failed else ExitCode.DONE)
    assert all(hint for status, _, hint in checks.values() if status == "failed")
    return checks


def test_a_sound_set_up_passes(capsys: pytest.CaptureFixture[str], sound: Deployment) -> None:
    checks = examined(capsys, sound)
    assert {check for check, (status, _, _) in checks.items() if status != "ok"} == {"units"}
    # Both units' keystores lie here: neither is opened.
    _, detail, _ = checks["keystores"]
    assert "opened: a, b, c;" in detail.replace("authority, ", "")


def test_a_unit_alone_on_its_host_has_its_keystore_opened(
    capsys: pytest.CaptureFixture[str], sound: Deployment
) -> None:
    (sound.folder / "T" / "keys" / "mu.key").unlink()
    _, detail, _ = examined(capsys, sound)["keystores"]
    assert detail.endswith("su") or ", su" in detail.split("opened: ")[1]


def loosen(path: str, mode: int) -> Callable[[Deployment], None]:
    return lambda deployment: (deployment.folder / "T" / path).chmod(mode)


def remove(path: str) -> Callable[[Deployment], None]:
    return lambda deployment: (deployment.folder / "T" / path).unlink()


def other_pin(deployment: Deployment) -> None:
    text = deployment.config.read_text()
    pinned = text.split('configuration_sha256 = "')[1][:64]
    deployment.config.write_text(text.replace(pinned, "0" * 64))


def swapped_keystores(deployment: Deployment) -> None:
    keys = deployment.folder / "T" / "keys"
    shutil.copy(keys / "a.key", keys / "b.key")


def other_passphrase(deployment: Deployment) -> None:
    (deployment.folder / "T" / "passphrase").write_text("another\n")


def other_durability(deployment: Deployment) -> None:
    with deployment.edit(TopicName.JOURNAL) as connection:
        connection.execute("UPDATE topic SET durability = 'normal'")


def other_partitions(deployment: Deployment) -> None:
    with deployment.edit(TopicName.ROUND_REPLIES) as connection:
        connection.execute("UPDATE topic SET partitions = 8")


def no_topics(deployment: Deployment) -> None:
    folder = deployment.folder / "T" / "topics"
    shutil.rmtree(folder)
    folder.write_text("not a folder")


FAULTS: dict[str, tuple[Callable[[Deployment], None], str, str]] = {
    "no settings": (remove("privml.toml"), "settings", "cannot be read"),
    "settings open to all": (loosen("privml.toml", 0o646), "settings", "may be changed by every user"),
    "no passphrase": (remove("passphrase"), "passphrase", "cannot be read"),
    "passphrase open to all": (loosen("passphrase", 0o644), "passphrase", "may be read by other users"),
    "another passphrase": (other_passphrase, "keystores", "does not open#c"),
    "a topic is missing": (remove("topics/demo.heads.sqlite"), "topics", "missing: demo.heads"),
    "other partitions": (other_partitions, "topics", "rounds.replies has 8 partitions, not 16"),
    "other durability": (other_durability, "topic_settings", "journal: durability is normal, not full"),
    "log open to all": (loosen("topics", 0o757), "access", "may be written by every user"),
    "another configuration": (other_pin, "configuration", "is not on the config topic"),
    "another's keystore": (swapped_keystores, "keystores", "keystore of owner 'a'#a"),
    "keystore open to all": (loosen("keys/c.key", 0o644), "keystores", "may be read by other users#c"),
    "no folder of topics": (no_topics, "transport", "is no folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(
    capsys: pytest.CaptureFixture[str], sound: Deployment, fault: str
) -> None:
    cause, check, words = FAULTS[fault]
    # Opening a keystore takes a while: those that the fault is not about go away.
    for path in (sound.folder / "T" / "keys").iterdir():
        if path.stem not in {"mu", "su"} | set(words.partition("#")[2].split()):
            path.unlink()
    cause(sound)
    checks = examined(capsys, sound)
    assert [name for name, (status, _, _) in checks.items() if status == "failed"][:1] == [check]
    assert words.partition("#")[0] in checks[check][1]


def test_a_unit_that_does_not_answer_is_found(capsys: pytest.CaptureFixture[str], sound: Deployment) -> None:
    status, detail, _ = examined(capsys, sound, "--metrics", "127.0.0.1:1")["units"]
    assert (status, detail) == ("failed", "no unit answers at 127.0.0.1:1")


def test_a_full_disk_and_a_clock_that_is_behind_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert doctor_host.check_disk([tmp_path / "not" / "yet"]).status is Status.OK
    monkeypatch.setattr(doctor_host, "LEAST_FREE_BYTES", 1 << 62)
    assert doctor_host.check_disk([tmp_path]).status is Status.FAILED
    assert clock_finding(time.time_ns() + 60 * 10**9).status is Status.FAILED
    assert clock_finding(time.time_ns() - 60 * 10**9).status is Status.OK
    assert clock_finding(None).status is Status.SKIPPED
    assert os.access(tmp_path, os.W_OK)


async def test_units_that_disagree_are_found_from_what_they_publish(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(60, 0))
            await house.publish("b", house.records(60, 1))
            await house.ask(house.records(3, "asked"))
        look = house.transport()
        agreed = await check_heads(look, house.tenant)
        assert (agreed.status, "SU signed 1" in agreed.detail) == (Status.OK, True)
        assert (await check_refused_rounds(look, house.tenant)).status is Status.OK
        wrong = Head("m", 2, 0, bytes(32), 120, 2, bytes(32), 2)
        await house.put("su", TopicName.HEADS, "head", encode(wrong))
        # Signed by MU, but not sealed for SU.
        async with house.su():
            publisher = house.publisher("mu")
            await publisher.publish(TopicName.ROUND_REQUESTS, "request", 1, bytes(64), partition=3)
            while not house.dead_letters():
                await look.read("small.deadletter", 0, 0, wait_seconds=1.0)
        heads, rounds = await check_heads(look, house.tenant), await check_refused_rounds(look, house.tenant)
        assert (heads.status, rounds.status) == (Status.FAILED, Status.FAILED)
        assert "different contents of version 2 of m" in heads.detail
        assert "su refused 1 messages" in rounds.detail
