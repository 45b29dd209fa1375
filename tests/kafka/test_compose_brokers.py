"""What the compose files say, run on real brokers of this machine instead of in containers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_files import DEPLOYMENTS, broker_properties

from kafka.composed import Composed
from pipeline.commands.main import main
from pipeline.kafka_address import parse_kafka_url
from pipeline.kafka_administration import KafkaAdministration
from pipeline.kafka_settings import topic_settings
from pipeline.kafka_transport import KafkaTransport
from schemas.topics import TOPICS, topic_specs

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_images_own_class_makes_the_settings_we_expect(name: str, tmp_path: Path) -> None:
    composed = Composed(name, tmp_path)
    if name == "secure":
        assert composed.run("certificates").returncode == 0
    broker = list(composed.brokers)[-1]
    environment = composed.services[broker]["environment"]
    made = composed.properties(broker)
    assert made == {
        setting: composed.translated(value, broker)
        for setting, value in broker_properties(environment).items()
    }


# --- three brokers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    with Composed("cluster", tmp_path_factory.mktemp("cluster")) as composed:
        composed.start_brokers()
        done = composed.run("topics")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("created") == len(TOPICS)
        yield composed


async def test_topics_of_the_cluster_have_three_copies_and_the_tables_settings(cluster: Composed) -> None:
    url = cluster.translated(cluster.services["mu"]["environment"]["TRANSPORT"])
    specs = topic_specs("demo")
    async with KafkaAdministration(parse_kafka_url(url)) as administration:
        found = await administration.topic_settings([spec.topic for spec in specs])
    for spec in specs:
        wanted = {**topic_settings(spec), "min.insync.replicas": "2"}
        assert {name: found[spec.topic][name] for name in wanted} == wanted


async def test_a_cluster_goes_on_without_one_broker(cluster: Composed) -> None:
    url = cluster.translated(cluster.services["mu"]["environment"]["TRANSPORT"])
    async with KafkaTransport(parse_kafka_url(url)) as transport:
        before = [(await transport.append("demo.chunks", b"a", b"%d" % i)).offset for i in range(5)]
        cluster.kill("kafka-2")
        after = [(await transport.append("demo.chunks", b"a", b"%d" % i)).offset for i in range(5, 10)]
        assert before + after == sorted(before + after)
    async with KafkaTransport(parse_kafka_url(url)) as transport:
        read: list[bytes] = []
        # A leader learns a moment after its followers have them that they have the last messages.
        async with asyncio.timeout(60):
            while len(set(read)) < 10:
                read += [m.value for m in await transport.read("demo.chunks", 0, len(read), wait_seconds=1.0)]
        # An append that was answered is there; one that was repeated may stand there twice.
        assert list(dict.fromkeys(read)) == [b"%d" % i for i in range(10)]


# --- TLS, logins and rules: the whole deployment, from the first certificate to the last answer


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    quick = ("--profile standard", "--profile toy")
    with Composed("secure", tmp_path_factory.mktemp("secure")) as composed:
        for service in ("certificates", "kafka", "admin", "topics", "parameters", "mu-keys", "su-keys"):
            if service in composed.brokers:
                composed.start_brokers()
                continue
            done = composed.run(service, *([quick] if service == "parameters" else []))
            assert done.returncode == 0, (service, done.stdout + done.stderr)
        done = composed.run("tenant", (quick[0], f"{quick[1]} --insecure"))
        assert done.returncode == 0, done.stdout + done.stderr
        done = composed.run("acl")
        assert done.returncode == 0, done.stdout + done.stderr
        yield composed


def test_the_secure_deployment_trains_and_answers(secure: Composed) -> None:
    for unit in ("mu", "su"):
        secure.serve(unit)
    for unit in ("mu", "su"):
        secure.await_health(unit)
    for owner in ("owner-a", "owner-b"):
        done = secure.run(owner)
        assert done.returncode == 0, done.stderr + secure.log("mu")
        assert "accepted" in done.stdout
    for started in ("before", "anew"):
        if started == "anew":
            # A unit that starts again reads more than one that goes on: its rights must suffice for that.
            for unit in ("mu", "su"):
                secure.kill(unit)
                secure.serve(unit)
        done = secure.run("client")
        assert done.returncode == 0, done.stderr + secure.log("mu") + secure.log("su")
        assert done.stdout.split() == ["1", "no", "2", "yes"]


def test_one_time_steps_do_nothing_when_repeated(secure: Composed) -> None:
    before = {path: path.read_bytes() for path in secure.folder.glob("*/*") if path.is_file()}
    for service in ("certificates", "parameters", "mu-keys", "su-keys", "tenant"):
        done = secure.run(service)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_the_secure_cluster_has_exactly_the_tables_rules(
    secure: Composed, capsys: pytest.CaptureFixture[str]
) -> None:
    url = secure.translated(secure.services["acl"]["environment"]["TRANSPORT"])
    beside = ("--party", "operator:operator", "--party", "auditor:auditor")
    config = str(secure.folder / "public" / "privml.toml")
    assert main(["acl", "check", "--config", config, "--transport", url, *beside, "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert (checked["ok"], checked["tenant"]) == (True, "demo")


def test_a_client_without_tls_or_login_gets_nowhere(secure: Composed) -> None:
    async def listed(url: str) -> None:
        async with KafkaTransport(parse_kafka_url(url)) as transport:
            await transport.topics()

    from pipeline.errors import TransportError

    ca = secure.folder / "public" / "ca.pem"
    for url in (
        f"kafka://{secure.address}?connect=2",
        f"kafka://{secure.address}?security=SSL&ca_file={ca}&connect=2",
    ):
        with pytest.raises(TransportError):
            asyncio.run(listed(url))
