"""TLS and logins against a real broker, and what is said when they fail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafka.broker import ADMIN, ADMIN_PASSWORD, KafkaBroker
from kafka.fixtures import need_own_broker
from pipeline.errors import BrokerRefusedError, BrokerUnreachableError, UnknownTopicError
from pipeline.topic_urls import open_transport
from pipeline.transport import Transport
from schemas.topics import Durability, Kept, TopicSpec

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(60)]

ONE = TopicSpec("t.one", 1, Kept.FOREVER, Durability.FULL)
USERS = {ADMIN: ADMIN_PASSWORD, "mu": "mu-secret"}


@pytest.fixture(scope="module", params=[False, True], ids=["plaintext", "tls"])
def strict_broker(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """Return a broker that wants a login and refuses what no rule allows."""
    need_own_broker()
    with KafkaBroker(users={"mu": USERS["mu"]}, access_rules=True, tls=request.param) as broker:
        yield broker


class Opener:
    """Opens handles on a broker under some login."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder

    def __call__(self, user: str, password: str, **options: str) -> Transport:
        file = self.folder / "password"
        file.touch(mode=0o600)
        file.write_text(f"{password}\n")
        given = {
            "security": "SASL_PLAINTEXT" if self.broker.certificate is None else "SASL_SSL",
            "username": user,
            "password_file": str(file),
            "connect": "3",
        }
        if self.broker.certificate is not None:
            given["ca_file"] = str(self.broker.certificate)
        given |= options
        query = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return open_transport(f"kafka://{self.broker.address}?{query}")


@pytest.fixture
def opener(strict_broker: KafkaBroker, tmp_path: Path) -> Opener:
    return Opener(strict_broker, tmp_path)


async def test_the_right_password_opens(opener: Opener) -> None:
    async with opener(ADMIN, ADMIN_PASSWORD) as transport:
        await transport.create_topics([ONE])
        position = await transport.append(ONE.topic, b"k", b"v")
        (message,) = await transport.read(ONE.topic, 0, position.offset, wait_seconds=10.0)
        assert message.value == b"v"


@pytest.mark.parametrize(("user", "password"), [("mu", "wrong"), ("nobody", "mu-secret")])
async def test_a_wrong_login_is_refused_at_once(opener: Opener, user: str, password: str) -> None:
    # Not as late as a broker that does not answer would be given up.
    async with opener(user, password, connect="55") as transport, asyncio.timeout(45):
        with pytest.raises(BrokerRefusedError, match="refused the user name or the password") as refused:
            await transport.topics()
        assert not refused.value.retriable
        assert "password_file" in str(refused.value.hint)
        assert password not in repr(refused.value)


async def test_what_no_rule_allows_is_refused(opener: Opener) -> None:
    async with opener(ADMIN, ADMIN_PASSWORD) as admin:
        await admin.create_topics([ONE])
    async with opener("mu", USERS["mu"]) as transport:
        with pytest.raises(BrokerRefusedError, match="may not make topics"):
            await transport.create_topics([TopicSpec("t.two", 1, Kept.SHORT, Durability.NORMAL)])
        # A topic that this login may not know of is no topic.
        assert await transport.topics() == []
        for call in (transport.append(ONE.topic, None, b""), transport.read(ONE.topic, 0, 0)):
            with pytest.raises(UnknownTopicError):
                await call


async def test_an_unknown_mechanism_is_named(opener: Opener) -> None:
    async with opener("mu", USERS["mu"], mechanism="SCRAM-SHA-256") as transport:
        with pytest.raises(BrokerRefusedError, match="does not know the mechanism SCRAM-SHA-256"):
            await transport.topics()


async def test_the_wrong_kind_of_security_is_hinted_at(opener: Opener) -> None:
    plain = opener.broker.certificate is None
    # TLS where there is none, and none where there is.
    other = "SASL_SSL" if plain else "SASL_PLAINTEXT"
    async with opener("mu", USERS["mu"], security=other, ca_file="") as transport:
        with pytest.raises(BrokerUnreachableError, match="no Kafka connection with") as refused:
            await transport.topics()
        assert "check security in the transport URL" in str(refused.value.hint)


async def test_an_unknown_certificate_is_refused(opener: Opener) -> None:
    if opener.broker.certificate is None:
        return
    async with opener("mu", USERS["mu"], ca_file="") as transport:
        with pytest.raises(BrokerRefusedError, match="is not trusted") as refused:
            await transport.topics()
        assert "ca_file" in str(refused.value.hint)
