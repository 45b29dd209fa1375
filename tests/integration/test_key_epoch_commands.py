"""`privml authority renew` and `privml mu rekey`, `su rekey`, beside running units as processes."""

import shutil
import time

import pytest
from integration.deployment import PATIENCE, Deployment, Ended, in_process
from integration.test_operations import end, get, served_at

from pipeline.parties import open_identity
from pipeline.settings import load_settings
from schemas.topics import Role, TopicName


def command(capsys: pytest.CaptureFixture[str], deployment: Deployment, *arguments: str) -> Ended:
    return in_process(capsys, *arguments, "--config", str(deployment.config))


def await_key_epoch(addresses: list[str], key_epoch: int) -> None:
    deadline = time.monotonic() + PATIENCE
    for address in addresses:
        while f'key_epoch="{key_epoch}"' not in get(address, "/metrics")[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_key_epoch_begins_while_the_units_run(deployment: Deployment) -> None:
    public = {role: str(deployment.folder / f"{role}.pub") for role in ("mu", "su")}
    (deployment.folder / "T" / "passphrase").chmod(0o600)
    units = [deployment.start(role, "--metrics", "127.0.0.1:0") for role in ("mu", "su")]
    try:
        addresses = [served_at(unit) for unit in units]
        metrics = [word for address in addresses for word in ("--metrics", address)]
        deployment.publish(150)
        before = deployment.predict()
        assert deployment.run("authority", "enroll", "--owner", "e").code == 0
        renewed = deployment.run("authority", "renew")
        assert (renewed.code, renewed.object["version"], renewed.object["key_epoch"]) == (0, 3, 2), renewed
        # Both go on to it by themselves, before anybody asks.
        await_key_epoch(addresses, 2)
        assert deployment.run("doctor", *metrics).code == 0
        assert deployment.predict() == before
        # As on two hosts: each unit draws by itself, and the authority sees what they hand over.
        drawn = [deployment.run(role, "rekey", "--public", public[role]).object for role in ("mu", "su")]
        assert [one["key_epoch"] for one in drawn] == [3, 3]
        keys = ["--unit-key", public["mu"], "--unit-key", public["su"]]
        assert deployment.run("authority", "renew", *keys).object["key_epoch"] == 3
        deployment.publish(100, seed=1)
        assert len(deployment.predict()) == 5
        journal = deployment.run("inspect", "journal").object["entries"]
        assert [e["sender_sequence"] for e in journal if e["kind"] == "configured"] == [2, 3, 4]
    finally:
        ended = [end(unit) for unit in units]
    assert [one.code for one in ended] == [0, 0]
    with deployment.units():
        assert len(deployment.predict()) == 5
    for arguments in (["audit"], ["mu", "self-audit"], ["su", "self-audit"]):
        audited = deployment.run(*arguments)
        assert (audited.code, audited.object["findings"]) == (0, []), arguments


def test_what_a_unit_drew_stays_until_it_is_signed_and_is_signed_once(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = deployment.folder
    settings = load_settings(deployment.config)

    def rekey(role: str, name: str) -> bytes:
        file = folder / name
        done = command(capsys, deployment, role, "rekey", "--public", str(file))
        assert done.code == 0, done
        return file.read_bytes()

    first = {role: rekey(role, f"{role}.pub") for role in ("mu", "su")}
    assert {role: rekey(role, f"{role} again.pub") for role in ("mu", "su")} == first
    both = ("--unit-key", str(folder / "mu.pub"), "--unit-key", str(folder / "su.pub"))
    assert command(capsys, deployment, "authority", "renew", *both).object["key_epoch"] == 2
    before = deployment.total(TopicName.CONFIG)
    for keys in (both, both[:2] * 2, ("--unit-key", str(folder / "T" / "keys" / "a.pub"))):
        assert command(capsys, deployment, "authority", "renew", *keys).code in {2, 4}, keys
    other = folder / "other.pub"
    shutil.copy(folder / "T" / "keys" / "mu.pub", other)
    stale = command(capsys, deployment, "authority", "renew", "--unit-key", str(other))
    assert (stale.code, stale.object["code"]) == (4, "invalid_config")
    assert deployment.total(TopicName.CONFIG) == before
    assert rekey("mu", "mu of 3.pub") != first["mu"]
    secrets = open_identity(settings, deployment.tenant(), "mu", Role.MU).keystore.secrets
    assert len({secrets[name] for name in ("seed", "seed.2", "seed.3")}) == 3
    assert len({secrets[name] for name in ("delta", "delta.2", "delta.3")}) == 3
