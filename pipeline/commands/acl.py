"""`privml acl`: users and access rules of a Kafka cluster, made from the topics table."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.reasons import ExitCode
from schemas.topics import NAME_PATTERN, TENANT_PATTERN, Role

if TYPE_CHECKING:
    from pipeline.kafka_acl import AccessRule, Member
    from pipeline.kafka_address import KafkaAddress

app = typer.Typer(no_args_is_help=True, help="Who may do what on a Kafka cluster, from the topics table.")

TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        help="Take the parties from --party alone, not from the signed configuration of the settings.",
        show_default=False,
    ),
]
PartyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--party",
        help="ROLE:NAME of one more party, such as auditor:alice or operator:ops; repeat for more.",
        show_default=False,
    ),
]
PasswordsOption = Annotated[
    Path | None,
    typer.Option(
        "--passwords",
        help="Folder of password files, TENANT.PARTY.password; without it users are left alone.",
        show_default=False,
    ),
]


@app.command("list")
def list_(
    tenant: TenantOption = None,
    party: PartyOption = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """List users and rules as the topics table asks for them; all else is to be refused."""
    from pipeline.kafka_acl import access_rules, user_name

    name, members, _ = _who(tenant, party, config, transport)
    rules = access_rules(name, members)
    output = Output(json)
    users = [
        {"user": user_name(name, member.name), "party": member.name, "role": member.role}
        for member in members
    ]
    output.result("acl list", {"tenant": name, "users": users, "rules": _objects(rules)})
    for line in _lines(rules):
        output.document(line)


@app.command()
def commands(
    tenant: TenantOption = None,
    party: PartyOption = None,
    passwords: PasswordsOption = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Print users and rules as command lines for Kafka's own tools; nothing is changed."""
    from pipeline.kafka_acl_commands import shell_commands

    name, members, _ = _who(tenant, party, config, transport)
    lines = shell_commands(name, members, passwords)
    output = Output(json)
    output.result("acl commands", {"tenant": name, "commands": lines})
    output.document("\n".join(lines))


@app.command()
def apply(
    tenant: TenantOption = None,
    party: PartyOption = None,
    passwords: PasswordsOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove rules on the tenant's topics that are not in the table.")
    ] = False,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Make users and rules on the cluster; needs the login of a super user.

    With --passwords every user gets the password in its file; for one without a file a password is
    drawn and written. Hand each party its own file: `password_file` in its transport URL names it.
    """
    from pipeline.kafka_acl import user_name
    from pipeline.kafka_administration import KafkaAdministration, removable
    from pipeline.kafka_passwords import prepare_passwords, read_password

    name, members, url = _who(tenant, party, config, transport)
    address = _address(url)
    files = (
        [] if passwords is None else prepare_passwords(passwords, [user_name(name, m.name) for m in members])
    )
    chosen = {file.user: read_password(file.path) for file in files}

    async def work() -> "tuple[Sequence[AccessRule], Sequence[AccessRule], Sequence[AccessRule]]":
        async with KafkaAdministration(address) as administration:
            found = await administration.differences(name, members)
            await administration.allow(found.missing)
            removed = removable(found.surplus, name) if prune else []
            await administration.withdraw(removed)
            await administration.set_passwords(chosen)
        return found.missing, removed, [rule for rule in found.surplus if rule not in removed]

    added, removed, surplus = run_command(work())
    output = Output(json)
    output.result(
        "acl apply",
        {
            "tenant": name,
            "users": [{"user": file.user, "file": str(file.path), "drawn": file.drawn} for file in files],
            "added": _objects(added),
            "removed": _objects(removed),
            "surplus": _objects(surplus),
        },
    )
    for file in files:
        output.document(f"user   {file.user}  {'drawn into' if file.drawn else 'as in'} {file.path}")
    for mark, rules in (("added", added), ("removed", removed), ("surplus", surplus)):
        for line in _lines(rules):
            output.document(f"{mark:7} {line}")
    output.say(
        f"{len(added)} rules added, {len(removed)} removed, {len(surplus)} on the cluster beside the table"
    )


@app.command()
def check(
    tenant: TenantOption = None,
    party: PartyOption = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the cluster's users and rules with the table; ends with 1 if they differ."""
    from pipeline.kafka_acl import user_name
    from pipeline.kafka_administration import KafkaAdministration

    name, members, url = _who(tenant, party, config, transport)
    address = _address(url)

    async def look() -> tuple[Any, set[str]]:
        async with KafkaAdministration(address) as administration:
            return await administration.differences(name, members), await administration.users()

    found, users = run_command(look())
    wanted = [user_name(name, member.name) for member in members]
    unknown = [user for user in wanted if user not in users]
    ok = not (found.missing or found.surplus or unknown)
    output = Output(json)
    output.result(
        "acl check",
        {
            "tenant": name,
            "ok": ok,
            "users_missing": unknown,
            "missing": _objects(found.missing),
            "surplus": _objects(found.surplus),
        },
    )
    for user in unknown:
        output.document(f"no user {user}")
    for mark, rules in (("missing", found.missing), ("surplus", found.surplus)):
        for line in _lines(rules):
            output.document(f"{mark:7} {line}")
    if not ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)
    output.say("users and rules are those of the table")


def _who(
    tenant: str | None, parties: Sequence[str] | None, config: Path | None, transport: str | None
) -> "tuple[str, list[Member], str | None]":
    """Return the tenant's name, who takes part, and where the topics are if that is known."""
    from pipeline.configurations import fetch_tenant
    from pipeline.kafka_acl import Member
    from pipeline.settings import load_settings, settings_path
    from pipeline.topic_urls import open_transport

    beside = [_member(text) for text in parties or []]
    if tenant is not None:
        if re.search(TENANT_PATTERN, tenant) is None:
            raise typer.BadParameter(
                "1 to 32 lower-case letters, digits and hyphens, no hyphen first", param_hint="--tenant"
            )
        return tenant, _distinct(beside), transport
    settings = load_settings(settings_path(config))
    url = transport or settings.transport

    async def fetch() -> "list[Member]":
        async with open_transport(url) as opened:
            configuration = (await fetch_tenant(settings, opened, insecure=True)).configuration
        return [Member.of(party) for party in configuration.parties if not party.revoked]

    return settings.tenant, _distinct([*run_command(fetch()), *beside]), url


def _member(text: str) -> "Member":
    from pipeline.kafka_acl import Member

    role, _, name = text.partition(":")
    if role not in set(Role) or re.search(NAME_PATTERN, name) is None:
        raise typer.BadParameter(
            f"'{text}' is not ROLE:NAME with a role of {', '.join(Role)}", param_hint="--party"
        )
    return Member(name, Role(role))


def _distinct(members: "Sequence[Member]") -> "list[Member]":
    names = [member.name for member in members]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise typer.BadParameter(f"two parties are called '{double[0]}'", param_hint="--party")
    return list(members)


def _address(url: str | None) -> "KafkaAddress":
    from pipeline.kafka_address import parse_kafka_url

    if url is None or not url.startswith("kafka:"):
        raise typer.BadParameter(
            "only a Kafka cluster has users and rules: kafka://HOST:PORT", param_hint="--transport"
        )
    return parse_kafka_url(url)


def _objects(rules: "Sequence[AccessRule]") -> list[dict[str, str]]:
    return [
        {
            "user": rule.user,
            "operation": rule.operation.label,
            "pattern": rule.pattern.name.lower(),
            "topic": rule.topic,
            "host": rule.host,
        }
        for rule in rules
    ]


def _lines(rules: "Sequence[AccessRule]") -> list[str]:
    from pipeline.kafka_acl import Pattern

    return [
        f"{rule.principal:24} {rule.operation.label:16} {rule.topic}"
        f"{'*' if rule.pattern is Pattern.PREFIXED else ''}"
        for rule in rules
    ]
