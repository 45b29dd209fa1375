"""docs/kafka.md against the code: the URL's parts, the settings of topics and brokers."""

import re
from pathlib import Path

import pytest

from pipeline.errors import InvalidTransportUrlError
from pipeline.kafka_address import KafkaAddress, parse_kafka_url
from pipeline.kafka_settings import access_settings, broker_settings, topic_settings
from schemas.topics import Durability, Kept, TopicSpec

TEXT = (Path(__file__).parent.parent / "docs" / "kafka.md").read_text(encoding="utf-8")
SPAN = re.compile(r"`([^`\n]+)`")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its two header lines."""
    below = re.split(rf"^## {re.escape(heading)}$", TEXT, maxsplit=1, flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.group().splitlines()[2:]]


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_parts_of_the_url_are_those_that_are_read() -> None:
    with pytest.raises(InvalidTransportUrlError) as refused:
        parse_kafka_url("kafka://host?nothing=1")
    assert refused.value.hint is not None
    known = refused.value.hint.removeprefix("known are ").split(", ")
    assert sorted(SPAN.findall(row[0])[0] for row in rows("The URL")) == known


def test_defaults_of_the_url_are_the_programs() -> None:
    address = parse_kafka_url("kafka://host")
    defaults = {SPAN.findall(row[0])[0]: row[2].strip("`") for row in rows("The URL")}
    assert address == KafkaAddress(
        ("host:9092",),
        security=defaults["security"],
        mechanism=defaults["mechanism"],
        connect_seconds=float(defaults["connect"]),
        patience_seconds=float(defaults["patience"]),
    )


def test_settings_of_topics_are_those_they_get() -> None:
    documented = {SPAN.findall(row[0])[0]: set(SPAN.findall(row[1])) for row in rows("Topics")}
    assert set(documented) == set(Kept)
    common = {
        f"{name}={value}"
        for name, value in topic_settings(TopicSpec("t", 1, Kept.FOREVER, Durability.NORMAL)).items()
    } - documented[Kept.FOREVER]
    assert common <= set(SPAN.findall(section("Topics")))
    for kept in Kept:
        for durability, more in ((Durability.NORMAL, set()), (Durability.FULL, {"flush.messages=1"})):
            made = topic_settings(TopicSpec("t", 1, kept, durability))
            assert {f"{name}={value}" for name, value in made.items()} == common | documented[kept] | more


def test_settings_of_brokers_are_the_tables() -> None:
    documented = [(SPAN.findall(row[0])[0], row[1], row[2]) for row in rows("The brokers' settings")]
    one, three = broker_settings(1), broker_settings(3)
    assert documented == [(name, one[name], three[name]) for name in one]
    rules = access_settings(("User:admin",))
    named = set(SPAN.findall(section("The brokers' settings")))
    assert {f"{name}={value}" for name, value in rules.items() if name != "super.users"} <= named
