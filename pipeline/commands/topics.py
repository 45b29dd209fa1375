"""`privml topics`: make the tenant's topics, list them with their sizes, describe their table."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ConfigOption, TransportOption
from pipeline.commands.output import JsonOption, Output
from pipeline.commands.running import run_command
from schemas.topics import EVERYBODY, TENANT_PATTERN, TOPICS, Role, topic_name

if TYPE_CHECKING:
    from pipeline.transport import Transport

app = typer.Typer(no_args_is_help=True, help="The tenant's topics: make, list and describe them.")

TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", help="Name of the tenant. [default: from the settings]", show_default=False),
]


@app.command()
def create(
    tenant: TenantOption = None,
    replication: Annotated[
        int | None,
        typer.Option(
            min=1, help="Brokers that hold each topic (Kafka). [default: the brokers']", show_default=False
        ),
    ] = None,
    min_in_sync: Annotated[
        int | None,
        typer.Option(
            "--min-in-sync",
            min=1,
            help="Brokers that must have a message before it counts (Kafka). [default: the brokers']",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """Make every topic of the table that is not there; on Kafka this is the operator's work.

    Partitions, retention, compaction and durability come from the table. A topic that is there stays
    as it is, but for --min-in-sync, which gives all topics the table's settings anew.
    """
    if replication is not None and min_in_sync is not None and min_in_sync > replication:
        raise typer.BadParameter("more brokers than hold a copy", param_hint="--min-in-sync")
    name, url = _where(tenant, config, transport)
    if (replication or min_in_sync) and not url.startswith("kafka:"):
        raise typer.BadParameter(
            "only a Kafka cluster keeps copies", param_hint="--replication / --min-in-sync"
        )
    created, existing = run_command(_create(name, url, replication, min_in_sync))
    output = Output(json)
    output.result("topics create", {"tenant": name, "created": created, "existing": existing})
    for topic in created:
        output.document(f"created  {topic}")
    for topic in existing:
        output.document(f"existed  {topic}")


@app.command("list")
def list_(
    tenant: TenantOption = None,
    config: ConfigOption = None,
    transport: TransportOption = None,
    json: JsonOption = False,
) -> None:
    """List the tenant's topics with their sizes, and which of the table are not there.

    On Kafka the bytes are those of one copy on disk, and known to super users only.
    """
    name, url = _where(tenant, config, transport)
    rows = run_command(_list(name, url))
    output = Output(json)
    output.result("topics list", {"tenant": name, "topics": rows})
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes']:14} bytes"
        count = "" if row["messages"] is None else f"{row['messages']:10} messages"
        output.document(f"{row['topic']:32} {row['state']:10} {count}{size}".rstrip())


@app.command()
def describe(
    tenant: TenantOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Describe the topics: who writes and reads, keys, how long messages stay, how durable they are.

    With neither --tenant nor settings, the names are those within a tenant.
    """
    from pipeline.kafka_settings import topic_settings
    from pipeline.settings import load_settings, settings_path
    from schemas.topics import TopicSpec

    path = settings_path(config)
    if tenant is not None:
        _check_name(tenant)
    elif config is not None or path.exists():
        tenant = load_settings(path).tenant
    rows = []
    for topic in TOPICS.values():
        full = topic.name.value if tenant is None else topic_name(tenant, topic.name)
        spec = TopicSpec(full, topic.partitions, topic.kept, topic.durability)
        rows.append(
            {
                "topic": full,
                "partitions": topic.partitions,
                "key": topic.key.value,
                "writers": sorted(topic.writers),
                "readers": sorted(topic.readers),
                "kept": topic.kept.value,
                "durability": topic.durability.value,
                "kafka_settings": topic_settings(spec),
            }
        )
    output = Output(json)
    output.result("topics describe", {"tenant": tenant, "topics": rows})
    for topic, row in zip(TOPICS.values(), rows, strict=True):
        output.document(
            f"{row['topic']}: {topic.partitions} partition{'s' if topic.partitions > 1 else ''}, "
            f"key: {topic.key}\n"
            f"  written by {_names(topic.writers)}; read by {_names(topic.readers)}\n"
            f"  kept: {topic.kept}, durability: {topic.durability}"
        )


async def _create(
    tenant: str, url: str, replication: int | None, min_in_sync: int | None
) -> tuple[list[str], list[str]]:
    from pipeline.kafka_address import parse_kafka_url
    from pipeline.kafka_administration import KafkaAdministration
    from pipeline.kafka_settings import topic_settings
    from schemas.topics import topic_specs

    specs = topic_specs(tenant)
    async with _open(url, replication) as transport:
        there = {spec.topic for spec in specs if await _exists(transport, spec.topic)}
        await transport.create_topics(specs)
    if min_in_sync is not None:
        async with KafkaAdministration(parse_kafka_url(url)) as administration:
            await administration.set_topic_settings(
                {
                    spec.topic: {**topic_settings(spec), "min.insync.replicas": str(min_in_sync)}
                    for spec in specs
                }
            )
    names = [spec.topic for spec in specs]
    return [name for name in names if name not in there], [name for name in names if name in there]


async def _exists(transport: "Transport", topic: str) -> bool:
    from pipeline.errors import UnknownTopicError

    try:
        await transport.beginning_offset(topic, 0)
    except UnknownTopicError:
        return False
    return True


def _open(url: str, replication: int | None) -> "Transport":
    from dataclasses import replace

    from pipeline.topic_urls import open_transport

    if replication is None:
        return open_transport(url)
    from pipeline.kafka_address import parse_kafka_url
    from pipeline.kafka_transport import KafkaTransport

    return KafkaTransport(replace(parse_kafka_url(url), replication=replication))


async def _list(tenant: str, url: str) -> list[dict[str, Any]]:
    from pipeline.errors import BrokerRefusedError
    from pipeline.kafka_acl import topic_prefix
    from pipeline.kafka_address import parse_kafka_url
    from pipeline.kafka_administration import KafkaAdministration
    from pipeline.topic_urls import open_transport
    from schemas.topics import topic_specs

    async with open_transport(url) as transport:
        found = {
            info.topic: info
            for info in await transport.topics()
            if info.topic.startswith(topic_prefix(tenant))
        }
    sizes = {name: info.bytes for name, info in found.items()}
    if url.startswith("kafka:"):
        async with KafkaAdministration(parse_kafka_url(url)) as administration:
            try:
                sizes |= await administration.sizes({name: info.partitions for name, info in found.items()})
            except BrokerRefusedError:
                sizes = dict.fromkeys(found)
    wanted = {spec.topic: spec.partitions for spec in topic_specs(tenant)}
    rows = []
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        info = found.get(name)
        rows.append(
            {
                "topic": name,
                "state": _state(None if info is None else info.partitions, wanted.get(name)),
                "partitions": None if info is None else info.partitions,
                "messages": None if info is None else info.messages,
                "bytes": sizes.get(name),
                "oldest_offset": None if info is None else list(info.oldest_offset),
                "next_offset": None if info is None else list(info.next_offset),
            }
        )
    return rows


def _state(found: int | None, wanted: int | None) -> str:
    if wanted is None:
        return "unknown"
    if found is None:
        return "missing"
    return "present" if found == wanted else "mismatch"


def _where(tenant: str | None, config: Path | None, transport: str | None) -> tuple[str, str]:
    """Return the tenant's name and where its topics are: the options, else the settings."""
    from pipeline.settings import load_settings, settings_path

    if tenant is not None:
        _check_name(tenant)
        if transport is not None:
            return tenant, transport
    settings = load_settings(settings_path(config))
    return tenant or settings.tenant, transport or settings.transport


def _check_name(tenant: str) -> None:
    if re.search(TENANT_PATTERN, tenant) is None:
        raise typer.BadParameter(
            "1 to 32 lower-case letters, digits and hyphens, no hyphen first", param_hint="--tenant"
        )


def _names(roles: frozenset[Role]) -> str:
    return "everybody" if roles == EVERYBODY else ", ".join(sorted(roles))
