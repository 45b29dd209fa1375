"""`privml topics` on the embedded log; tests/kafka has it on a broker."""

from pathlib import Path
from typing import Any

import pytest
from command_output import read_object

from pipeline.commands.main import main
from schemas.reasons import ExitCode
from schemas.topics import TOPICS, TopicName, topic_specs


def topics(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["topics", *arguments, "--json"]) == 0
    return read_object(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["topics", *arguments])
    assert ended.value.code == ExitCode.USAGE
    return capsys.readouterr().err


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"log:{tmp_path / 'topics'}"


def test_create_makes_what_the_table_says_and_says_what_was_there(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [spec.topic for spec in topic_specs("demo")]
    first = topics(capsys, "create", "--tenant", "demo", "--transport", url)
    assert (first["created"], first["existing"]) == (names, [])
    again = topics(capsys, "create", "--tenant", "demo", "--transport", url)
    assert (again["created"], again["existing"]) == ([], names)
    listed = topics(capsys, "list", "--tenant", "demo", "--transport", url)["topics"]
    assert {row["topic"]: row["partitions"] for row in listed} == {
        spec.topic: spec.partitions for spec in topic_specs("demo")
    }
    assert {row["state"] for row in listed} == {"present"}


def test_list_shows_what_is_missing_and_no_other_tenant(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    topics(capsys, "create", "--tenant", "demo-2", "--transport", url)
    rows = topics(capsys, "list", "--tenant", "demo", "--transport", url)["topics"]
    assert [row["topic"] for row in rows] == [spec.topic for spec in topic_specs("demo")]
    assert {row["state"] for row in rows} == {"missing"}
    assert {row["bytes"] for row in rows} == {None}


def test_list_names_a_topic_of_another_shape_and_one_beside_the_table(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    from pipeline.topic_urls import open_transport
    from schemas.topics import Durability, Kept, TopicSpec

    async def make() -> None:
        async with open_transport(url) as transport:
            await transport.create_topics(
                [
                    TopicSpec("demo.chunks", 3, Kept.FOREVER, Durability.NORMAL),
                    TopicSpec("demo.extra", 1, Kept.FOREVER, Durability.NORMAL),
                ]
            )
            await transport.append("demo.extra", b"k", b"12345")

    asyncio.run(make())
    rows = {
        row["topic"]: row for row in topics(capsys, "list", "--tenant", "demo", "--transport", url)["topics"]
    }
    assert rows["demo.chunks"]["state"] == "mismatch"
    assert (rows["demo.extra"]["state"], rows["demo.extra"]["bytes"]) == ("unknown", 6)


def test_describe_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    described = topics(capsys, "describe", "--tenant", "demo")
    assert [row["topic"] for row in described["topics"]] == [f"demo.{name}" for name in TopicName]
    for row, topic in zip(described["topics"], TOPICS.values(), strict=True):
        assert set(row["writers"]) == topic.writers
        assert set(row["readers"]) == topic.readers
        assert (row["partitions"], row["key"]) == (topic.partitions, topic.key)
        assert (row["kept"], row["durability"]) == (topic.kept, topic.durability)
        assert row["kafka_settings"]["cleanup.policy"] in {"compact", "delete"}


def test_describe_needs_no_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRIVML_CONFIG", raising=False)
    described = topics(capsys, "describe")
    assert described["tenant"] is None
    assert [row["topic"] for row in described["topics"]] == list(TopicName)
    assert main(["topics", "describe"]) == 0
    assert "written by owner; read by auditor, mu" in capsys.readouterr().out


def test_copies_are_for_a_cluster(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--tenant", "demo", "--transport", url)
    assert "Kafka" in refused(capsys, "create", *place, "--replication", "3")
    assert "Kafka" in refused(capsys, "create", *place, "--min-in-sync", "2")
    more = ("--replication", "1", "--min-in-sync", "2")
    assert "copy" in refused(capsys, "create", "--tenant", "demo", "--transport", "kafka://h", *more)
    assert "hyphen" in refused(capsys, "create", "--tenant", "De.mo", "--transport", url)
