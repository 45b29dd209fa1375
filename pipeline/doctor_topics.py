"""Checks of the topics: reachable, all there, made as the table says, closed to whom it does not name."""

import stat
from pathlib import Path

from crypto.errors import PrivMLError
from pipeline.doctor_finding import Finding
from pipeline.errors import BrokerRefusedError, TransportError, UnknownTopicError
from pipeline.kafka_acl import Member, user_name
from pipeline.kafka_address import parse_kafka_url
from pipeline.kafka_administration import KafkaAdministration
from pipeline.kafka_settings import topic_settings
from pipeline.log_files import TopicFile
from pipeline.transport import Transport
from roles.tenant import Tenant
from schemas.topics import TopicName, topic_name, topic_specs

_MAKE = "run `privml topics create`: it makes what is missing"
_SHOWN = 3


async def check_transport(transport: Transport, url: str, tenant: str) -> Finding:
    """Say whether the topics can be reached at all."""
    place = url.split("?", maxsplit=1)[0]
    if (folder := _log_folder(url)) is not None and not folder.is_dir():
        return Finding.failed(
            "transport",
            f"{folder} is no folder",
            "check the transport in the settings, or run `privml topics create`",
        )
    try:
        await transport.end_offset(topic_name(tenant, TopicName.CONFIG), 0)
    except UnknownTopicError:
        return Finding.ok("transport", f"{place} answers")
    except PrivMLError as error:
        return Finding.of_error("transport", error)
    return Finding.ok("transport", f"{place} answers")


async def check_topics(transport: Transport, url: str, tenant: str) -> Finding:
    """Say whether every topic of the table is there, with its partitions."""
    found = {info.topic: info.partitions for info in await transport.topics()}
    wanted = {spec.topic: spec.partitions for spec in topic_specs(tenant)}
    wrong = [name for name, count in wanted.items() if found.get(name, count) != count]
    if wrong:
        return Finding.failed(
            "topics",
            f"{wrong[0]} has {found[wrong[0]]} partitions, not {wanted[wrong[0]]}",
            "delete the topic if nothing is in it, and run `privml topics create`; else make another tenant",
        )
    missing = [name for name in wanted if name not in found]
    hidden = topic_name(tenant, TopicName.CONFIG) not in missing and "username=" in url
    if missing and hidden:
        return Finding.skipped(
            "topics",
            f"missing, or not shown to this login: {', '.join(missing)}",
            "run it with the operator's login, which sees all",
        )
    if missing:
        return Finding.failed("topics", f"missing: {', '.join(missing)}", _MAKE)
    return Finding.ok("topics", f"all {len(wanted)} are there, with the partitions of the table")


async def check_topic_settings(url: str, tenant: str) -> Finding:
    """Say whether sizes, retention and durability of the topics are those of the table."""
    specs = topic_specs(tenant)
    differing: list[str] = []
    if url.startswith("kafka:"):
        try:
            async with KafkaAdministration(parse_kafka_url(url)) as administration:
                found = await administration.topic_settings([spec.topic for spec in specs])
        except BrokerRefusedError:
            return Finding.skipped(
                "topic_settings",
                "this login may not read the topics' settings",
                "run it with the operator's login",
            )
        for spec in specs:
            in_force = found.get(spec.topic, {})
            differing += [
                f"{spec.topic}: {name} is {in_force[name]}, not {value}"
                for name, value in topic_settings(spec).items()
                if name in in_force and in_force[name] != value
            ]
    elif (folder := _log_folder(url)) is not None:
        for spec in specs:
            file = TopicFile(folder, spec.topic)
            durability = file.facts.durability
            file.close()
            if durability is not spec.durability:
                differing.append(f"{spec.topic}: durability is {durability}, not {spec.durability}")
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        return Finding.failed(
            "topic_settings",
            "; ".join(differing[:_SHOWN]) + more,
            "`privml topics create --min-in-sync N` gives all topics the table's settings anew on Kafka",
        )
    return Finding.ok("topic_settings", "sizes, retention and durability are those of the table")


async def check_access(url: str, tenant: Tenant) -> Finding:
    """Say whether the transport lets in whom the table names, as far as this login is told."""
    if (folder := _log_folder(url)) is not None:
        return _check_folder(folder)
    if not url.startswith("kafka:"):
        return Finding.skipped("access", "topics in memory have no access rules")
    members = [Member.of(party) for party in tenant.configuration.parties]
    try:
        async with KafkaAdministration(parse_kafka_url(url)) as administration:
            found = await administration.differences(tenant.name, members)
            users = await administration.users()
    except BrokerRefusedError as error:
        return Finding.skipped(
            "access",
            f"rules cannot be read: {error.args[0]}",
            "run it with a super user's login; a broker without an authorizer enforces no rules",
        )
    strangers = [name for member in members if (name := user_name(tenant.name, member.name)) not in users]
    if found.missing or strangers:
        what = f"{len(found.missing)} rules and {len(strangers)} users of the table are missing"
        return Finding.failed("access", what, "`privml acl check` lists them, `privml acl apply` makes them")
    beside = f"; beside it {len(found.surplus)} rules, see `privml acl check`" if found.surplus else ""
    return Finding.ok("access", f"users and rules of the table are in force{beside}")


def _check_folder(folder: Path) -> Finding:
    if folder.stat().st_mode & stat.S_IWOTH:
        return Finding.failed(
            "access", f"{folder} may be written by every user of this machine", f"run: chmod o-w {folder}"
        )
    return Finding.ok("access", "the log's folder is closed to other users' writing")


def _log_folder(url: str) -> Path | None:
    """Return where the embedded log lies; None for another transport."""
    return Path(url.removeprefix("log:")) if url.startswith("log:") else None


async def newest_message(transport: Transport, tenant: str) -> int | None:
    """Return when the newest message was written that this login may read, in nanoseconds since 1970."""
    times = []
    for topic in (TopicName.CONFIG, TopicName.HEADS, TopicName.JOURNAL, TopicName.DEAD_LETTERS):
        name = topic_name(tenant, topic)
        try:
            end = await transport.end_offset(name, 0)
            if end > await transport.beginning_offset(name, 0):
                times += [message.written_at for message in await transport.read(name, 0, end - 1, 1)]
        except TransportError:
            continue
    return max(times, default=None)
