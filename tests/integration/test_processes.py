"""The roles as processes on the embedded log: signals, sudden death, meddling, full disks, silence."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.deployment import COLUMNS, PATIENCE, Deployment, rows, write_csv
from integration.full_disk import FULL_TOPIC

from crypto.errors import SchemaError
from schemas.codec import MAX_MESSAGE_BYTES, decode
from schemas.envelope import open_envelope
from schemas.journal import DeadLetter
from schemas.reasons import ExitCode
from schemas.topics import TOPICS, TopicName

pytestmark = pytest.mark.slow

# The topics whose messages a unit judges; what is wrong elsewhere its readers pass over.
JUDGED = {
    *(TopicName.CONFIG, TopicName.CHUNKS, TopicName.QUERIES),
    *(TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES),
}

FULL_LEDGER = """
import sys
from pipeline import session_ledger
from pipeline.errors import StorageFullError
opened = session_ledger.SessionLedger.__init__
def init(self, path):
    opened(self, path)
    # As large as it is, and filled up.
    self._file.rows("PRAGMA max_page_count=1")
    try:
        for session in range(10_000):
            self.record(b"filler %d" % session, 1, session_ledger.Answered(bytes(32), bytes(32)), 0)
    except StorageFullError:
        pass
session_ledger.SessionLedger.__init__ = init
from pipeline.commands.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def trained(template: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Return a tenant with 300 records in the model and one query answered."""
    deployment = template.copy(tmp_path_factory.mktemp("trained"))
    with deployment.units():
        deployment.publish(300)
        deployment.predict()
    return deployment


@pytest.fixture
def house(trained: Deployment, tmp_path: Path) -> Deployment:
    return trained.copy(tmp_path)


def dead_letters(deployment: Deployment) -> list[tuple[str, int, str]]:
    """Return (topic, offset, reason) of every dead letter that a unit signed."""
    tenant = deployment.tenant()
    letters = []
    for value in deployment.values(TopicName.DEAD_LETTERS):
        with contextlib.suppress(SchemaError):
            envelope = open_envelope(value, TopicName.DEAD_LETTERS, tenant.name, tenant.verifying.get)
            letter = decode(DeadLetter, envelope.body)
            letters.append((letter.topic, letter.offset, letter.reason))
    return letters


def until(condition: "Iterator[bool]") -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not next(condition):
        assert time.monotonic() < end
        time.sleep(0.05)


# --- signals and death


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_unit_in_order(deployment: Deployment, by: signal.Signals) -> None:
    with deployment.units() as units:
        deployment.publish(150)
        assert len(deployment.predict()) == 5
        for role, unit in zip(("mu", "su"), units, strict=True):
            ended = unit.end(by)
            assert ended.code == 0, ended.err
            assert (ended.object["schema"], ended.object["role"]) == ("privml.stopped/1", role)
            assert "Traceback" not in ended.err
            assert {view["topic"] for view in ended.object["views"]} <= {str(topic) for topic in TOPICS}


def test_a_unit_that_is_still_starting_ends_as_well(house: Deployment) -> None:
    for role in ("mu", "su"):
        for delay in (0.3, 0.5, 0.7):
            unit = house.start(role)
            time.sleep(delay)
            ended = unit.end()
            # Before the command has begun the signal is nobody's but the system's.
            assert ended.code in {0, -signal.SIGTERM}, ended.err
            assert "Traceback" not in ended.err or ended.code == -signal.SIGTERM


def test_killed_units_go_on_where_they_were(house: Deployment) -> None:
    model, labels = house.model(), house.predict_with_units()
    with house.units() as (master, secondary):
        house.publish(100, owner="b", seed=1)
        master.end(signal.SIGKILL)
        secondary.end(signal.SIGKILL)
    trained = house.model()
    assert trained != model
    with house.units():
        assert house.model() == trained
        assert len(house.predict(seed=7)) == len(labels)
    assert not dead_letters(house)


def test_su_killed_in_the_middle_of_a_query_answers_it_later(house: Deployment) -> None:
    file = write_csv(house.folder / "asked.csv", [row[:3] for row in rows(3, 42)], COLUMNS[:3])
    with house.units() as (_, secondary):
        expected = house.predict(3, 42)
        # Stopped, SU has the request and no time to answer it; then it dies.
        secondary.process.send_signal(signal.SIGSTOP)
        requests = house.total(TopicName.ROUND_REQUESTS)
        asking = house.begin("predict", str(file), "--client", "c", "--timeout", "40")
        until(house.total(TopicName.ROUND_REQUESTS) > requests for _ in iter(int, 1))
        secondary.end(signal.SIGKILL)
        with house.unit("su"):
            answered = house.finish(asking)
        assert answered.code == 0, answered
        assert [line["label"] for line in answered.objects[:-1]] == expected
    assert not dead_letters(house)


def test_a_silent_su_is_named(house: Deployment) -> None:
    file = write_csv(house.folder / "asked.csv", [row[:3] for row in rows(3, 42)], COLUMNS[:3])
    with house.unit("mu"):
        requests = house.total(TopicName.ROUND_REQUESTS)
        for _ in range(2):
            ended = house.run("predict", str(file), "--client", "c", "--timeout", "1.5")
            assert (ended.code, ended.object["code"]) == (ExitCode.UNREACHABLE, "timeout")
            # How soon MU asks SU is up to the machine; from then on it is SU that is silent.
            until(house.total(TopicName.ROUND_REQUESTS) > requests for _ in iter(int, 1))
        assert "SU is silent" in ended.object["message"]
    ended = house.run("predict", str(file), "--client", "c", "--timeout", "0.5")
    assert ended.code == ExitCode.UNREACHABLE


def test_a_unit_runs_once(house: Deployment) -> None:
    for role in ("mu", "su"):
        with house.unit(role) as first:
            second = house.start(role).ended()
            assert (second.code, second.object["code"]) == (ExitCode.CONFIGURATION, "invalid_config")
            assert "running already" in second.object["message"]
            assert first.end().code == 0


# --- what comes of good and bad rows


def test_good_rows_are_answered_beside_bad_ones(house: Deployment) -> None:
    records = [*[row[:3] for row in rows(3, 42)]]
    records[1:1] = [("mauve", "s", "1"), ("red", "s", "NaN")]
    file = write_csv(house.folder / "asked.csv", records, COLUMNS[:3])
    out = house.folder / "out.csv"
    with house.units():
        expected = house.predict(3, 42)
        ended = house.run("predict", str(file), "--client", "c", "--out", str(out), "--rows-per-query", "2")
    assert ended.code == ExitCode.BAD_INPUT
    *lines, summary = ended.objects
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line.get("label") for line in lines] == [expected[0], None, None, *expected[1:]]
    assert [line["error"]["line"] for line in lines if "error" in line] == [3, 4]
    assert (summary["summary"]["answered"], summary["summary"]["failed"]) == (3, 2)
    assert out.read_text().splitlines() == [
        "row,label",
        f"1,{expected[0]}",
        "2,",
        "3,",
        f"4,{expected[1]}",
        f"5,{expected[2]}",
    ]


def test_what_the_units_refuse_says_why(deployment: Deployment) -> None:
    file = write_csv(deployment.folder / "asked.csv", [row[:3] for row in rows(2)], COLUMNS[:3])
    with deployment.units():
        ended = deployment.run("predict", str(file), "--client", "c")
        assert (ended.code, ended.object["code"]) == (ExitCode.REFUSED, "not_enough_records")
        chunk = deployment.publish(100).object["chunks"][0]
        withdraw = ("owner", "withdraw", chunk["chunk_id"], "--owner", "a")
        ended = deployment.run(*withdraw)
        assert (ended.code, ended.object["receipt"]["reason"]) == (0, None)
        ended = deployment.run(*withdraw)
        assert (ended.code, ended.object["receipt"]["reason"]) == (ExitCode.REFUSED, "not_withdrawable")


# --- the topics' files edited by hand while the roles run


def test_hostile_rows_in_every_topic(house: Deployment) -> None:
    model = house.model()
    with house.units():
        expected = house.predict(3, 42)
        good = {topic: house.values(topic) for topic in TopicName}
        wanted = []

        def drop(topic: TopicName, value: bytes, reason: str) -> None:
            offset = house.drop(topic, value)
            if topic in JUDGED:
                wanted.append((str(topic), offset, reason))

        for topic in TopicName:
            drop(topic, b"not a message", "malformed")
            drop(topic, b"", "malformed")
            drop(topic, bytes(MAX_MESSAGE_BYTES + 1), "too_large")
            if good[topic]:
                drop(topic, good[topic][0][:-10], "malformed")
                drop(topic, good[topic][0][:-1] + bytes([good[topic][0][-1] ^ 1]), "bad_signature")
        chunk, query = good[TopicName.CHUNKS][0], good[TopicName.QUERIES][0]
        drop(TopicName.CHUNKS, query, "wrong_topic")
        drop(TopicName.QUERIES, chunk, "wrong_topic")
        drop(TopicName.CHUNKS, chunk, "duplicate")
        drop(TopicName.QUERIES, query, "duplicate")
        until(len(dead_letters(house)) >= len(wanted) for _ in iter(int, 1))
        assert sorted(dead_letters(house)) == sorted(wanted)
        assert house.model() == model
        assert house.predict(3, 42) == expected
    # Nothing of it matters after a restart either.
    with house.units():
        assert house.predict(3, 42) == expected
        house.publish(100, owner="b", seed=1)
    assert sorted(dead_letters(house)) == sorted(wanted)
    assert house.run("inspect", "journal").code == 0


@pytest.mark.parametrize("damage", ["flipped", "deleted", "deleted at the end", "swapped"])
def test_a_tampered_journal_stops_mu(house: Deployment, damage: str) -> None:
    with house.edit(TopicName.JOURNAL) as connection:
        statements = {
            "flipped": ["UPDATE message SET value = CAST(value || x'00' AS BLOB) WHERE \"offset\" = 1"],
            "deleted": ['DELETE FROM message WHERE "offset" = 1'],
            "deleted at the end": ['DELETE FROM message WHERE "offset" = 4'],
            "swapped": [
                'UPDATE message SET "offset" = 99 WHERE "offset" = 1',
                'UPDATE message SET "offset" = 1 WHERE "offset" = 2',
                'UPDATE message SET "offset" = 2 WHERE "offset" = 99',
            ],
        }
        for statement in statements[damage]:
            connection.execute(statement)
    ended = house.start("mu").ended()
    assert (ended.code, ended.object["code"]) == (ExitCode.STORAGE, "storage_damaged")
    assert ended.object["hint"]


def test_a_repeated_journal_entry_changes_nothing(house: Deployment) -> None:
    model = house.model()
    house.drop(TopicName.JOURNAL, house.values(TopicName.JOURNAL)[2])
    with house.units():
        assert house.model() == model
        assert len(house.predict()) == 5


# --- full disks


def test_a_full_disk_under_the_chunks_loses_and_doubles_nothing(deployment: Deployment) -> None:
    file = write_csv(deployment.folder / "train.csv", rows(600))
    publish = ["owner", "publish", str(file), "--owner", "a", "--chunk-size", "50"]
    pages = deployment.pages(TopicName.CHUNKS)
    ended = deployment.wrapped(FULL_TOPIC, [str(TopicName.CHUNKS), str(pages + 8)], *publish)
    assert (ended.code, ended.object["code"]) == (ExitCode.STORAGE, "storage_full")
    sent = len(deployment.values(TopicName.CHUNKS))
    assert 0 < sent < 12
    with deployment.units():
        ended = deployment.run(*publish, "--wait")
        assert ended.code == 0
        assert (ended.object["resumed"], ended.object["resent"]) == (sent + 1, 1)
        assert len(ended.object["chunks"]) == 12
        assert ended.object["rejected"] == 0
        assert deployment.run("inspect", "model").object["records"] == 600
        # Published again it is another time: nobody stopped this run.
        ended = deployment.run(*publish, "--wait")
        assert ended.object["resumed"] == 0
        assert deployment.run("inspect", "model").object["records"] == 1200
    assert not dead_letters(deployment)


def test_a_full_disk_under_the_journal_loses_nothing(deployment: Deployment) -> None:
    file = write_csv(deployment.folder / "train.csv", rows(1000))
    publish = ["owner", "publish", str(file), "--owner", "a", "--chunk-size", "5"]
    assert deployment.run(*publish).code == 0
    pages = deployment.pages(TopicName.JOURNAL)
    # No room for the first batch of decisions; then for that one and not for the second.
    for room, written in ((1, 0), (10, 128)):
        small = ["-c", FULL_TOPIC, str(TopicName.JOURNAL), str(pages + room)]
        with deployment.unit("mu", wrapper=small) as master:
            ended = master.ended()
        assert (ended.code, ended.object["code"]) == (ExitCode.STORAGE, "storage_full")
        assert deployment.total(TopicName.JOURNAL) == written
    with deployment.units():
        until(deployment.total(TopicName.RECEIPTS) == 200 for _ in iter(int, 1))
        model = deployment.run("inspect", "model").object
        assert (model["records"], model["chunks"]) == (1000, 200)
        assert len(deployment.predict()) == 5


def test_a_full_disk_under_the_ledger_loses_nothing(house: Deployment) -> None:
    file = write_csv(house.folder / "asked.csv", [row[:3] for row in rows(3, 42)], COLUMNS[:3])
    with house.unit("mu"):
        with house.unit("su", wrapper=["-c", FULL_LEDGER]) as secondary:
            asking = house.begin("predict", str(file), "--client", "c")
            ended = secondary.ended()
        assert (ended.code, ended.object["code"]) == (ExitCode.STORAGE, "storage_full")
        with house.unit("su"):
            assert house.finish(asking).code == 0
    assert not dead_letters(house)


# --- a bug is not survived


def test_an_unexpected_error_ends_a_unit_loudly(house: Deployment) -> None:
    broken = """
import sys
from roles import master_unit
def screen_query(self, arrival):
    raise ZeroDivisionError("a bug with a secret in its text")
master_unit.MasterUnit.screen_query = screen_query
from pipeline.commands.main import main
sys.exit(main(sys.argv[1:]))
"""
    file = write_csv(house.folder / "asked.csv", [row[:3] for row in rows(3, 42)], COLUMNS[:3])
    with house.unit("mu", wrapper=["-c", broken]) as master:
        asking = house.begin("predict", str(file), "--client", "c", "--timeout", "55")
        ended = master.ended()
        assert (ended.code, ended.object["code"]) == (ExitCode.BUG, "internal_error")
        assert "secret" not in ended.err + str(ended.object)
    # The next one has it better.
    with house.units():
        assert house.finish(asking).code == 0
