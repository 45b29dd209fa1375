"""Lines for Kafka's own tools: run by bash with stand-ins that write down what they were given."""

import os
import stat
import subprocess
from itertools import pairwise
from pathlib import Path

from pipeline.kafka_acl import AccessRule, Member, Operation, Pattern, access_rules
from pipeline.kafka_acl_commands import shell_commands
from pipeline.kafka_passwords import prepare_passwords, read_password
from schemas.topics import Role

MEMBERS = [Member("mu", Role.MU), Member("a", Role.OWNER), Member("ops", Role.OPERATOR)]


def run(lines: list[str], folder: Path) -> tuple[list[list[str]], list[str]]:
    """Return the arguments of every kafka-acls.sh, and the configuration files of kafka-configs.sh."""
    acls, configs = folder / "acls", folder / "configs"
    for name, body in (
        ("kafka-acls.sh", f'printf "%s\\0" "$@" >> {acls}; printf "\\n" >> {acls}'),
        ("kafka-configs.sh", f'cat "${{@: -1}}" >> {configs}; printf "%s\\n" "$*" >> {folder / "arguments"}'),
    ):
        tool = folder / name
        tool.write_text(f"#!/bin/bash\n{body}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "BOOTSTRAP": "b:1", "ADMIN": "p"}
    subprocess.run(["bash", "-euc", "\n".join(lines)], env=environment, check=True, timeout=60)
    calls = [line.rstrip("\0").split("\0") for line in acls.read_text().split("\n") if line]
    return calls, configs.read_text().splitlines() if configs.exists() else []


def rules_of(call: list[str]) -> set[AccessRule]:
    values: dict[str, list[str]] = {}
    for name, value in pairwise(call):
        if name.startswith("--") and not value.startswith("--"):
            values.setdefault(name, []).append(value)
    (principal,), (pattern,) = values["--allow-principal"], values["--resource-pattern-type"]
    labels = {operation.label: operation for operation in Operation}
    return {
        AccessRule(principal.removeprefix("User:"), labels[label], Pattern[pattern.upper()], topic)
        for label in values["--operation"]
        for topic in values["--topic"]
    }


def test_the_lines_make_exactly_the_rules(tmp_path: Path) -> None:
    calls, configs = run(shell_commands("demo", MEMBERS, None), tmp_path)
    assert all(call[:5] == ["--bootstrap-server", "b:1", "--command-config", "p", "--add"] for call in calls)
    assert set().union(*map(rules_of, calls)) == set(access_rules("demo", MEMBERS))
    assert configs == []


def test_the_lines_make_users_without_a_password_among_arguments(tmp_path: Path) -> None:
    passwords = tmp_path / "pass words"
    files = prepare_passwords(passwords, ["demo.mu", "demo.a", "demo.ops"])
    _, configs = run(shell_commands("demo", MEMBERS, passwords), tmp_path)
    chosen = [read_password(file.path) for file in files]
    assert configs == [f"SCRAM-SHA-512=iterations=8192,password={password}" for password in chosen]
    arguments = (tmp_path / "arguments").read_text()
    assert not [password for password in chosen if password in arguments]
    assert [line.split("--entity-name ")[1].split()[0] for line in arguments.splitlines()] == [
        "demo.mu",
        "demo.a",
        "demo.ops",
    ]


def test_without_a_broker_named_nothing_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-euc", "\n".join(shell_commands("demo", MEMBERS, None))],
        env={"PATH": os.environ["PATH"]},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "BOOTSTRAP" in done.stderr
