"""Log events carry listed fields only: nothing has to be dropped, in a whole run and at every call."""

import ast
import re
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from integration.hostile import Hostile, hostile_chunks, hostile_queries, hostile_replies, hostile_requests
from integration.services import House, let_die, until
from integration.test_hostile_messages import query_step

import pipeline
from pipeline.log_setup import ALLOWED_FIELDS, MAX_TEXT, keep_allowed
from pipeline.transport import MAX_APPEND_BYTES
from schemas.codec import decode
from schemas.rounds import Reply, Request
from schemas.topics import TopicName, topic_name

T = TypeVar("T")
FOLDER = Path(pipeline.__file__).parent
EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def log_calls(path: Path) -> Iterator[tuple[int, ast.Call]]:
    """Yield the calls of a module's logger with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            logger = node.func.value
            if isinstance(logger, ast.Name) and logger.id in {"log", "logger", "_log"}:
                yield node.lineno, node


def test_every_call_names_a_fixed_event_and_listed_fields() -> None:
    found = 0
    for path in sorted(FOLDER.rglob("*.py")):
        for line, call in log_calls(path):
            where = f"{path.name}:{line}"
            assert len(call.args) == 1, where
            (event,) = call.args
            assert isinstance(event, ast.Constant), where
            assert EVENT.fullmatch(str(event.value)), where
            # `**fields` would have no name here, and could carry anything.
            assert {keyword.arg for keyword in call.keywords} <= ALLOWED_FIELDS, where
            found += 1
    assert found >= 6


# What goes past structlog goes past the allow-list; and tracebacks end with messages.
AROUND = {"print", "logging.basicConfig", "warnings.warn", "sys.excepthook"} | {
    f"traceback.{name}" for name in ("print_exc", "print_exception", "format_exc", "format_exception")
}


def test_there_is_one_way_to_log() -> None:
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in AROUND, f"{path.name}:{node.lineno}"


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Take every entry before the allow-list sees it."""
    taken: list[dict[str, Any]] = []
    configured = structlog.get_config()

    def take(_: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        taken.append({"level": method, **entry})
        raise structlog.DropEvent

    structlog.configure(
        processors=[take],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        cache_logger_on_first_use=False,
    )
    yield taken
    structlog.configure(**configured)


async def lay(house: House, topic: TopicName, partition: int, messages: Iterable[Hostile]) -> None:
    """Put hostile messages on a topic and wait until all are refused."""
    laid = [message for message in messages if len(message.value) <= MAX_APPEND_BYTES]
    expected = len(house.dead_letters()) + len(laid)
    for message in laid:
        place = partition if message.partition is None else message.partition
        await house.transport().append(topic_name("small", topic), None, message.value, partition=place)
    await until(lambda: len(house.dead_letters()) >= expected)


def body(house: House, kind: type[T], topic: TopicName, partition: int, wire: bytes) -> T:
    return decode(kind, house.round_body(topic, partition, wire))


async def test_a_whole_run_logs_listed_fields_only(tmp_path: Path, events: list[dict[str, Any]]) -> None:
    async with House(tmp_path) as house:
        async with house.units_running():
            await house.publish("a", house.records(40, 0), house.records(40, 1))
            await house.ask(house.records(3, "asked"))
            asked, replied = TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES
            partition, request = query_step(house, asked, Request)
            place_of_reply, reply = query_step(house, replied, Reply)
            asked_body = body(house, Request, asked, partition, request)
            replied_body = body(house, Reply, replied, place_of_reply, reply)
            hostile: list[tuple[TopicName, int, Iterable[Hostile]]] = [
                (TopicName.CHUNKS, 0, hostile_chunks(house)),
                (TopicName.QUERIES, 0, hostile_queries(house)),
                (asked, partition, hostile_requests(house, request, asked_body, partition)),
                (replied, place_of_reply, hostile_replies(house, reply, replied_body, place_of_reply)),
            ]
            for topic, place, messages in hostile:
                await lay(house, topic, place, messages)
        dying = house.transport()
        dying.die(TopicName.JOURNAL, 1)
        await house.put_query(house.records(3, "open"), "d")
        async with house.su():
            await let_die(house.mu(dying))
        answers = len(house.answers())
        async with house.units_running():
            await until(lambda: len(house.answers()) > answers)
    assert len(events) > 150
    of_units, of_others = {"recovered", "refused"}, {"chunk_published", "receipt", "query_published"}
    assert {event["event"] for event in events} >= of_units | of_others | {"query_closed"}
    for event in events:
        assert set(event) <= ALLOWED_FIELDS
        assert keep_allowed(None, event["level"], dict(event)) == event
        for value in event.values():
            assert isinstance(value, str | int | float)
            assert not isinstance(value, str) or len(value) <= MAX_TEXT
            # Fields name kinds, places and codes: no hash, no bytes in another spelling.
            assert not re.search(r"[0-9a-fA-F]{16}|\\x[0-9a-f]{2}", str(value))
