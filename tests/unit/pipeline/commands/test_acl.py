"""`privml acl` where no broker is needed; tests/kafka has the rest."""

from pathlib import Path

import pytest
from command_output import read_object

from pipeline.commands.main import main
from pipeline.kafka_acl import Member, access_rules
from schemas.reasons import ExitCode
from schemas.topics import Role

PARTIES = ("--party", "mu:mu", "--party", "owner:a", "--party", "operator:ops")
MEMBERS = [Member("mu", Role.MU), Member("a", Role.OWNER), Member("ops", Role.OPERATOR)]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["acl", *arguments])
    assert ended.value.code == ExitCode.USAGE
    return capsys.readouterr().err


def test_list_prints_users_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "list", "--tenant", "demo", *PARTIES, "--json"]) == 0
    listed = read_object(capsys.readouterr().out)
    assert [(user["user"], user["role"]) for user in listed["users"]] == [
        ("demo.mu", "mu"),
        ("demo.a", "owner"),
        ("demo.ops", "operator"),
    ]
    assert [(rule["user"], rule["operation"], rule["topic"]) for rule in listed["rules"]] == [
        (rule.user, rule.operation.label, rule.topic) for rule in access_rules("demo", MEMBERS)
    ]
    assert main(["acl", "list", "--tenant", "demo", *PARTIES]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["User:demo.mu", "Read", "demo.config"]
    assert lines[-1].split() == ["User:demo.ops", "AlterConfigs", "demo.*"]


def test_commands_prints_lines_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passwords = tmp_path / "passwords"
    given = ("--tenant", "demo", *PARTIES, "--passwords", str(passwords))
    assert main(["acl", "commands", *given, "--json"]) == 0
    lines = read_object(capsys.readouterr().out)["commands"]
    assert main(["acl", "commands", *given]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert sum(line.startswith("kafka-configs.sh ") for line in lines) == 3
    assert not passwords.exists()


def test_parties_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert "ROLE:NAME" in refused(capsys, "list", "--tenant", "demo", "--party", "king:a")
    assert "ROLE:NAME" in refused(capsys, "list", "--tenant", "demo", "--party", "owner:")
    assert "ROLE:NAME" in refused(capsys, "list", "--tenant", "demo", "--party", "owner:a b")
    assert "two parties" in refused(
        capsys, "list", "--tenant", "demo", "--party", "owner:a", "--party", "mu:a"
    )
    assert "hyphen" in refused(capsys, "list", "--tenant", "de_mo", "--party", "owner:a")


@pytest.mark.parametrize("command", ["apply", "check"])
@pytest.mark.parametrize("place", [(), ("--transport", "log:topics"), ("--transport", "memory:")])
def test_only_a_cluster_has_users_and_rules(
    command: str, place: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Kafka" in refused(capsys, command, "--tenant", "demo", *PARTIES, *place)
