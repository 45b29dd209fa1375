"""`privml authority enroll` and `revoke` beside running units, with everybody as a process."""

import subprocess
from pathlib import Path

import pytest
from integration.deployment import COLUMNS, Deployment, Ended, in_process, rows, write_csv

from pipeline.configurations import ConfigurationRolledBackError
from pipeline.settings import load_settings
from schemas.topics import TopicName


def send(deployment: Deployment, owner: str, *more: str) -> Ended:
    """Publish 100 records and wait for the receipt."""
    file = write_csv(deployment.folder / f"{owner}.csv", rows(100, 5))
    return deployment.run("owner", "publish", str(file), "--owner", owner, "--wait", *more)


@pytest.mark.slow
def test_parties_come_and_go_while_the_units_run(deployment: Deployment) -> None:
    folder = deployment.folder / "T"
    passphrase = ["--passphrase-file", str(folder / "passphrase")]
    elsewhere = ["--parameters", str(folder / "parameters.privml"), *passphrase]
    # An owner draws its keys on its own host; a client's are drawn here.
    keys = ["--keystore", str(folder / "keys" / "e.key"), "--public", str(folder / "e.pub")]
    made = Deployment.finish(
        deployment_process(deployment, "owner", "keygen", "--name", "e", *elsewhere, *keys)
    )
    assert made.code == 0, made
    with deployment.units():
        deployment.publish(150)
        enrolled = deployment.run("authority", "enroll", "--key", str(folder / "e.pub"), "--client", "f")
        assert enrolled.code == 0, enrolled
        assert enrolled.object["version"] == 2
        assert enrolled.object["parties"] == [
            {"name": "e", "role": "owner"},
            {"name": "f", "role": "client"},
        ]
        assert send(deployment, "e").code == 0
        questions = write_csv(deployment.folder / "f.csv", [row[:3] for row in rows(3, 9)], COLUMNS[:3])
        assert deployment.run("predict", str(questions), "--client", "f").code == 0
        revoked = deployment.run("authority", "revoke", "e", "f")
        assert (revoked.object["version"], revoked.object["revoked"]) == (3, ["e", "f"])
        refused = send(deployment, "e")
        assert (refused.code, refused.object["code"]) == (6, "revoked")
        assert deployment.run("predict", str(questions), "--client", "f").object["code"] == "revoked"
        deployment.publish(100, seed=1)
        journal = deployment.run("inspect", "journal").object["entries"]
        versions = [e for e in journal if e["kind"] == "configured"]
        assert [e["sender_sequence"] for e in versions] == [2, 3]
        assert [e["configuration_sha256"] for e in versions] == [
            enrolled.object["configuration_sha256"],
            revoked.object["configuration_sha256"],
        ]
        assert deployment.run("inspect", "chunk", journal[-1]["message_id"]).code == 0
        assert deployment.run("status").object["models"][0]["chunks"] >= 2
    for command in (["audit"], ["mu", "self-audit"], ["su", "self-audit"]):
        audited = deployment.run(*command)
        assert (audited.code, audited.object["findings"]) == (0, []), command
    with deployment.units():
        # Both know after a restart who is in.
        assert len(deployment.predict()) == 5


@pytest.mark.slow
def test_a_tenant_whose_clients_came_later_is_replayed(tmp_path: Path) -> None:
    deployment = Deployment.make(tmp_path, clients=())
    with deployment.units():
        deployment.publish(150)
        assert deployment.run("authority", "enroll", "--client", "f").code == 0
        deployment.publish(50, seed=1)
    files = [word for seed in (0, 1) for word in ("--data", f"a={tmp_path / f'a-{seed}.csv'}")]
    to = ["--to", f"log:{tmp_path / 'again'}", "--keep", str(tmp_path / "kept")]
    replayed = deployment.run("replay", *files, *to)
    assert replayed.code == 0, replayed
    assert (replayed.object["chunks_accepted"], replayed.object["records"]) == (3, 200)
    (model,) = replayed.object["models"]
    assert (model["matches"], model["twin_agreement"]) == (True, 1)
    # The first version has no client whose name could be taken over; somebody has to ask.
    assert [path.name for path in (tmp_path / "kept" / "keys").glob("*client*.key")] == ["replay-client.key"]


def deployment_process(deployment: Deployment, *arguments: str) -> "subprocess.Popen[str]":
    """Begin a command that takes no settings."""
    return subprocess.Popen(
        deployment.command(*arguments, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def authority(capsys: pytest.CaptureFixture[str], deployment: Deployment, *arguments: str) -> Ended:
    return in_process(capsys, "authority", *arguments, "--config", str(deployment.config))


def test_names_are_given_once(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    assert authority(capsys, deployment, "revoke", "b").object["version"] == 2
    before = deployment.total(TopicName.CONFIG)
    for arguments in (
        ["enroll", "--owner", "b"],
        ["enroll", "--client", "a"],
        ["enroll", "--owner", "x", "--client", "x"],
        ["revoke", "b"],
        ["revoke", "mu"],
        ["revoke", "nobody"],
        ["enroll", "--key", str(deployment.folder / "T" / "keys" / "su.pub")],
    ):
        refused = authority(capsys, deployment, *arguments)
        assert (refused.code, refused.object["code"]) == (4, "invalid_config"), arguments
    assert authority(capsys, deployment, "enroll").code == 2
    assert deployment.total(TopicName.CONFIG) == before


def test_an_older_configuration_is_refused_by_whoever_has_seen_a_newer_one(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    old = deployment.values(TopicName.CONFIG)
    assert authority(capsys, deployment, "enroll", "--owner", "e").code == 0
    with deployment.edit(TopicName.CONFIG) as connection:
        connection.execute('DELETE FROM message WHERE "offset" >= ?', (len(old),))
    file = write_csv(deployment.folder / "a.csv", rows(10))
    sent = in_process(
        capsys, "owner", "publish", str(file), "--owner", "a", "--config", str(deployment.config)
    )
    assert (sent.code, sent.object["code"]) == (7, ConfigurationRolledBackError.code), sent
    assert load_settings(deployment.config).state.joinpath("configuration.seen").exists()
