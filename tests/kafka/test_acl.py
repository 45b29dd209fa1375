"""Users and access rules on a real broker: exactly the topics table, for every user, both ways."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_output import read_object

from kafka.bare_client import COMPACTED, DONE, EXISTS, REFUSED, bare_client
from kafka.broker import ADMIN, ADMIN_PASSWORD, JARS, KafkaBroker
from pipeline.commands.main import main
from pipeline.errors import BrokerRefusedError, UnknownTopicError
from pipeline.kafka_acl import AccessRule, Operation, Pattern, user_name
from pipeline.kafka_address import parse_kafka_url
from pipeline.kafka_administration import KafkaAdministration
from pipeline.kafka_diagnosis import diagnose
from pipeline.kafka_passwords import password_path
from pipeline.kafka_transport import KafkaTransport
from schemas.reasons import ExitCode
from schemas.topics import TOPICS, Kept, Role, TopicName, topic_name

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]

TENANT = "demo"
STRANGER = "stranger"
PARTIES = {
    "authority": Role.AUTHORITY,
    "mu": Role.MU,
    "su": Role.SU,
    "a": Role.OWNER,
    "b": Role.OWNER,
    "c": Role.CLIENT,
    "auditor": Role.AUDITOR,
    "ops": Role.OPERATOR,
}
PARTY_OPTIONS = [word for name, role in PARTIES.items() for word in ("--party", f"{role}:{name}")]


@dataclass(frozen=True)
class SecureCluster:
    """A broker that refuses what no rule allows, with the users and rules of a tenant."""

    broker: KafkaBroker
    folder: Path

    def url(self, user: str, password: str | None = None, **more: str) -> str:
        """Return the URL of a user's login: with its own password or another one."""
        path = password_path(self.folder / "passwords", user)
        if password is not None:
            path = self.folder / "other.password"
            path.write_text(password)
            path.chmod(0o600)
        query = {"security": "SASL_PLAINTEXT", "username": user, "password_file": str(path), **more}
        return f"kafka://{self.broker.address}?" + "&".join(
            f"{name}={value}" for name, value in query.items()
        )

    def party(self, name: str) -> str:
        """Return the URL of a party's login."""
        return self.url(user_name(TENANT, name))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCluster]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "passwords").mkdir()
    for user, password in ((ADMIN, ADMIN_PASSWORD), (STRANGER, "stranger-secret")):
        path = password_path(folder / "passwords", user)
        path.write_text(password)
        path.chmod(0o600)
    with KafkaBroker(users={STRANGER: "stranger-secret"}, access_rules=True) as broker:
        made = SecureCluster(broker, folder)
        admin = ("--transport", made.url(ADMIN))
        assert main(["acl", "apply", *of_tenant(folder), *admin]) == 0
        assert main(["topics", "create", "--tenant", TENANT, "--transport", made.party("ops")]) == 0
        assert main(["topics", "create", "--tenant", "other", *admin]) == 0
        yield made


def of_tenant(folder: Path, tenant: str = TENANT) -> list[str]:
    return ["--tenant", tenant, *PARTY_OPTIONS, "--passwords", str(folder / "passwords")]


def acl(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["acl", *arguments, "--json"]) == code
    return read_object(capsys.readouterr().out)


# --- the table


@pytest.mark.parametrize("name", [*PARTIES, STRANGER])
async def test_every_user_may_do_exactly_what_the_table_says(cluster: SecureCluster, name: str) -> None:
    role = PARTIES.get(name)
    url = cluster.url(STRANGER) if role is None else cluster.party(name)
    found: dict[tuple[str, str], int] = {}
    async with bare_client(url) as client:
        for topic in TOPICS:
            full = topic_name(TENANT, topic)
            found[topic, "read"] = await client.read(full)
            found[topic, "write"] = await client.write(full)
            found[topic, "create"] = await client.create(full)
            found[topic, "alter"] = await client.alter(full)
            found[topic, "alter settings"] = await client.alter_settings(full)
            found[topic, "delete messages"] = await client.delete_messages(full)
            if role is not Role.OPERATOR:  # who would do it; see below
                found[topic, "delete"] = await client.delete_topic(full)
    wanted: dict[tuple[str, str], int] = {}
    for topic, row in TOPICS.items():
        operator = role is Role.OPERATOR
        wanted[topic, "read"] = DONE if role in row.readers else REFUSED
        wanted[topic, "write"] = DONE if role in row.writers else REFUSED
        wanted[topic, "create"] = EXISTS if operator else REFUSED
        wanted[topic, "alter"] = DONE if operator else REFUSED
        wanted[topic, "alter settings"] = DONE if operator else REFUSED
        # Compaction alone decides what goes from a compacted topic.
        allowed = COMPACTED if row.kept is Kept.COMPACTED else DONE
        wanted[topic, "delete messages"] = allowed if operator else REFUSED
        if not operator:
            wanted[topic, "delete"] = REFUSED
    assert found == wanted


@pytest.mark.parametrize("name", [*PARTIES, STRANGER])
async def test_no_user_reaches_another_tenant(cluster: SecureCluster, name: str) -> None:
    url = cluster.party(name) if name in PARTIES else cluster.url(STRANGER)
    async with bare_client(url) as client:
        for topic in ("other.chunks", "other.config", "demo-2.chunks", "elsewhere"):
            for ask in (client.read, client.write):
                # Of a topic that it may not know of, a user is told nothing.
                assert await ask(topic) == REFUSED
            assert await client.create(topic) == REFUSED
            assert await client.delete_topic(topic) == REFUSED


async def test_the_operator_drops_and_makes_its_tenants_topics(cluster: SecureCluster) -> None:
    spare = f"{TENANT}.spare"
    async with bare_client(cluster.party("ops")) as operator:
        assert await operator.delete_topic(spare) == 3  # unknown, but not refused
        assert await operator.create(spare) == DONE
        for topic in TOPICS:
            assert await operator.delete_topic(topic_name(TENANT, topic)) == DONE
        while await operator.topics():  # noqa: ASYNC110 - a broker tells nobody that a topic is gone
            await asyncio.sleep(0.05)
    create = ["topics", "create", "--tenant", TENANT, "--transport", cluster.party("ops")]
    assert await asyncio.to_thread(main, create) == 0


@pytest.mark.parametrize("name", [*PARTIES, STRANGER])
async def test_only_a_super_user_deals_with_users_and_rules(cluster: SecureCluster, name: str) -> None:
    url = cluster.party(name) if name in PARTIES else cluster.url(STRANGER)
    async with KafkaAdministration(parse_kafka_url(url)) as administration:
        for attempt in (
            administration.rules(),
            administration.users(),
            administration.allow([AccessRule(STRANGER, Operation.READ, Pattern.LITERAL, "demo.chunks")]),
            administration.withdraw([AccessRule("demo.mu", Operation.READ, Pattern.LITERAL, "demo.chunks")]),
            administration.set_passwords({"demo.mu": "mine now"}),
            administration.sizes({"demo.chunks": 1}),
        ):
            with pytest.raises(BrokerRefusedError):
                await attempt


# --- the project's own clients need no right beyond the table: no group, no cluster-wide write


@pytest.mark.parametrize("name", ["authority", "mu", "su", "a", "c"])
async def test_the_transport_writes_and_reads_with_the_tables_rights_alone(
    cluster: SecureCluster, name: str
) -> None:
    role = PARTIES[name]
    async with KafkaTransport(parse_kafka_url(cluster.party(name))) as transport:
        for topic, row in TOPICS.items():
            full = topic_name(TENANT, topic)
            if role in row.writers:
                position = await transport.append(full, b"key", b"mine")
                if role in row.readers:
                    (message,) = await transport.read(
                        full, position.partition, position.offset, wait_seconds=30
                    )
                    assert message.value == b"mine"
            else:
                with pytest.raises((BrokerRefusedError, UnknownTopicError)):
                    await transport.append(full, b"key", b"not mine")
            if role in row.readers:
                end = await transport.end_offset(full, 0)
                assert await transport.read(full, 0, end, wait_seconds=0.01) == []


async def test_a_reader_waits_on_several_topics_at_once(cluster: SecureCluster) -> None:
    async with (
        KafkaTransport(parse_kafka_url(cluster.party("mu"))) as reader,
        KafkaTransport(parse_kafka_url(cluster.party("a"))) as owner,
        KafkaTransport(parse_kafka_url(cluster.party("c"))) as client,
    ):
        topics = {topic: topic_name(TENANT, topic) for topic in (TopicName.CHUNKS, TopicName.QUERIES)}
        ends = {topic: await reader.end_offset(full, 0) for topic, full in topics.items()}
        waiting = [
            asyncio.create_task(reader.read(full, 0, ends[topic], wait_seconds=30))
            for topic, full in topics.items()
        ]
        await owner.append(topics[TopicName.CHUNKS], b"a", b"chunk")
        await client.append(topics[TopicName.QUERIES], b"c", b"query")
        found = [message.value for task in waiting for message in await task]
        assert found == [b"chunk", b"query"]


# --- logins


@pytest.mark.parametrize("name", PARTIES)
async def test_a_wrong_password_is_refused(cluster: SecureCluster, name: str) -> None:
    for password in ("wrong", ADMIN_PASSWORD):
        address = parse_kafka_url(cluster.url(user_name(TENANT, name), password))
        found = await diagnose(address, address.client_options(), 10)
        assert found.refused
        assert "password" in found.meaning


async def test_unknown_users_and_missing_logins_are_refused(cluster: SecureCluster) -> None:
    (cluster.folder / "other.password").unlink(missing_ok=True)
    for url in (
        cluster.url("demo.nobody", "anything"),
        cluster.url("demo", "anything"),
        cluster.url("demo.mu", "anything", mechanism="SCRAM-SHA-256"),
    ):
        async with KafkaTransport(parse_kafka_url(url)) as transport:
            with pytest.raises(BrokerRefusedError):
                await transport.topics()


def test_a_refused_login_ends_a_command_in_one_sentence(
    cluster: SecureCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    url = cluster.url("demo.ops", "wrong")
    with pytest.raises(SystemExit) as ended:
        main(["topics", "list", "--tenant", TENANT, "--transport", url, "--json"])
    assert ended.value.code == ExitCode.UNREACHABLE
    shown = capsys.readouterr()
    assert "password" in read_object(shown.out)["message"]
    assert "wrong" not in shown.out + shown.err


# --- the commands


def test_apply_is_repeatable_and_check_agrees(
    cluster: SecureCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = ("--transport", cluster.url(ADMIN))
    again = acl(capsys, "apply", *of_tenant(cluster.folder), *admin)
    assert (again["added"], again["removed"], again["surplus"]) == ([], [], [])
    assert [user["drawn"] for user in again["users"]] == [False] * len(PARTIES)
    assert acl(capsys, "check", "--tenant", TENANT, *PARTY_OPTIONS, *admin)["ok"]


def test_what_is_beside_the_table_is_found_and_can_be_removed(
    cluster: SecureCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = ("--transport", cluster.url(ADMIN))
    leak = AccessRule("demo.su", Operation.READ, Pattern.LITERAL, "demo.chunks")
    wide = AccessRule(STRANGER, Operation.READ, Pattern.PREFIXED, "dem")

    async def change(add: list[AccessRule], remove: list[AccessRule]) -> None:
        async with KafkaAdministration(parse_kafka_url(cluster.url(ADMIN))) as administration:
            await administration.allow(add)
            await administration.withdraw(remove)

    lost = AccessRule("demo.mu", Operation.READ, Pattern.LITERAL, "demo.queries")
    asyncio.run(change([leak, wide], [lost]))
    found = acl(
        capsys, "check", "--tenant", TENANT, *PARTY_OPTIONS, "--party", "owner:new", *admin,
        code=ExitCode.CHECK_FAILED,
    )  # fmt: skip
    assert not found["ok"]
    assert found["users_missing"] == ["demo.new"]
    assert {rule["user"] for rule in found["surplus"]} == {"demo.su", STRANGER}
    assert {rule["user"] for rule in found["missing"]} == {"demo.mu", "demo.new"}
    mended = acl(capsys, "apply", "--tenant", TENANT, *PARTY_OPTIONS, "--prune", *admin)
    assert [rule["topic"] for rule in mended["added"]] == ["demo.queries"]
    assert [rule["user"] for rule in mended["removed"]] == ["demo.su"]
    # It opens topics of others too, so it is for their operator to remove.
    assert [rule["user"] for rule in mended["surplus"]] == [STRANGER]
    asyncio.run(change([], [wide]))
    assert acl(capsys, "check", "--tenant", TENANT, *PARTY_OPTIONS, *admin)["ok"]


def test_list_shows_sizes_to_a_super_user_alone(
    cluster: SecureCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(url: str) -> list[dict[str, Any]]:
        assert main(["topics", "list", "--tenant", TENANT, "--transport", url, "--json"]) == 0
        rows: list[dict[str, Any]] = read_object(capsys.readouterr().out)["topics"]
        return rows

    asyncio.run(_append(cluster.party("a"), "demo.chunks", bytes(5000)))
    sizes = {row["topic"]: row["bytes"] for row in listed(cluster.url(ADMIN))}
    assert sizes["demo.chunks"] > 5000
    by_operator = listed(cluster.party("ops"))
    assert {row["bytes"] for row in by_operator} == {None}
    assert {row["state"] for row in by_operator} == {"present"}
    assert {row["topic"] for row in listed(cluster.party("a")) if row["state"] == "present"} == {
        "demo.config",
        "demo.chunks",
        "demo.receipts",
        "demo.heads",
    }


async def _append(url: str, topic: str, value: bytes) -> None:
    async with KafkaTransport(parse_kafka_url(url)) as transport:
        await transport.append(topic, b"a", value)


def test_the_printed_lines_make_the_same_users_and_rules(
    cluster: SecureCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parties = ("--party", "owner:a", "--party", "operator:ops")
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    for name in ("a", "ops"):
        password_path(passwords, f"lines.{name}").write_text(f"{name}-secret\n")
    lines = acl(capsys, "commands", "--tenant", "lines", *parties, "--passwords", str(passwords))["commands"]
    for tool, program in (
        ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
        ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    ):
        path = tmp_path / tool
        path.write_text(
            f"#!/bin/bash\nexec java -Xmx128m -XX:TieredStopAtLevel=1 -cp '{JARS}/*' {program} \"$@\"\n"
        )
        path.chmod(0o755)
    properties = tmp_path / "admin.properties"
    properties.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{ADMIN}" password="{ADMIN_PASSWORD}";\n'
    )
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "BOOTSTRAP": cluster.broker.address,
            "ADMIN": str(properties),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checked = acl(capsys, "check", "--tenant", "lines", *parties, "--transport", cluster.url(ADMIN))
    assert checked["ok"], json.dumps(checked)
    address = parse_kafka_url(cluster.url("lines.a", "a-secret"))
    assert not asyncio.run(diagnose(address, address.client_options(), 10)).refused
