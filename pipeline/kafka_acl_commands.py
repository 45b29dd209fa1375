"""The same users and access rules as lines for Kafka's own tools, for clusters run by others."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.kafka_acl import AccessRule, Member, Operation, Pattern, access_rules, user_name
from pipeline.kafka_passwords import ITERATIONS, password_path

PREAMBLE = (
    "# For bash. BOOTSTRAP: host:port of a broker. ADMIN: a file of client properties, a super user's login.",
    ': "${BOOTSTRAP:?}" "${ADMIN:?}"',
)

_TOOL = '--bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN"'


def shell_commands(tenant: str, members: Sequence[Member], passwords: Path | None) -> list[str]:
    """Return the lines that make users, if there are passwords, and rules.

    Args:
        tenant: Its name.
        members: Who takes part.
        passwords: Folder of the users' password files; without it users are left alone.
    """
    lines = list(PREAMBLE)
    if passwords is not None:
        users = [user_name(tenant, member.name) for member in members]
        lines += [_user_command(user, password_path(passwords, user)) for user in users]
    return [*lines, *_rule_commands(access_rules(tenant, members))]


def _user_command(user: str, path: Path) -> str:
    # As a file, since others on the machine may list a command's arguments. Without the brackets that the
    # tool wants in an argument.
    credential = f"SCRAM-SHA-512=iterations={ITERATIONS},password=%s"
    return (
        f"kafka-configs.sh {_TOOL} --alter --entity-type users --entity-name {shlex.quote(user)} "
        f"--add-config-file <(printf '{credential}\\n' \"$(head -n 1 {shlex.quote(str(path))})\")"
    )


def _rule_commands(rules: Iterable[AccessRule]) -> list[str]:
    """Return one line per user and kind of right; a line may name several topics or several rights."""
    topics: dict[tuple[str, Pattern, Operation], list[str]] = {}
    for rule in rules:
        topics.setdefault((rule.principal, rule.pattern, rule.operation), []).append(rule.topic)
    rights: dict[tuple[str, Pattern, tuple[str, ...]], list[Operation]] = {}
    for (principal, pattern, operation), names in topics.items():
        rights.setdefault((principal, pattern, tuple(names)), []).append(operation)
    return [
        " ".join(
            [
                f"kafka-acls.sh {_TOOL} --add --allow-principal {shlex.quote(principal)}",
                f"--resource-pattern-type {pattern.name.lower()}",
                *(f"--operation {operation.label}" for operation in operations),
                *(f"--topic {shlex.quote(name)}" for name in names),
            ]
        )
        for (principal, pattern, names), operations in rights.items()
    ]
