"""No key, seed, mask or plaintext shows anywhere: topics, files, logs, output, tracebacks, reprs."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog
from doubles import seeded_coins
from fuzz.canaries import Canaries
from integration.deployment import COLUMNS, PATIENCE, Deployment, rows, write_csv
from integration.hostile import hostile_chunks, hostile_queries
from integration.services import House, let_die, model_of, until, wire_body
from integration.test_log_fields import lay

from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey
from crypto.errors import PrivMLError
from crypto.packing import SlotLayout
from pipeline.keystore import Keystore
from pipeline.log_setup import configure_logs
from pipeline.passphrase import Passphrase
from pipeline.transport import Message
from roles.building_blocks import opening
from roles.client import make_query, read_answer
from roles.encoding import encode_bits
from roles.unit_keys import unit_keys
from schemas.topics import TOPICS, TopicName

_PACKAGES = {"crypto", "schemas", "roles", "pipeline"}
_LONG = 48


class Recorder:
    """Notes every secret value that passes through the places where secrets are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: list[tuple[str, bytes | int]] = []
        self._lock = threading.Lock()
        for owner, name, what in (
            (Coins, "bytes", "coins"),
            (Coins, "integer_bits", "mask or randomness"),
            (Coins, "below", "residue"),
            (SlotLayout, "pack", "plaintext"),
            (WeakPrivateKey, "decrypt", "answer"),
            (opening, "finish_open", "masked plaintext"),
        ):
            monkeypatch.setattr(owner, name, self._noting(getattr(owner, name), what))

    def _noting(self, original: Callable[..., Any], what: str) -> Callable[..., Any]:
        def noting(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            with self._lock:
                for value in result if isinstance(result, list) else [result]:
                    self.values.append((what, value))
            return result

        return noting

    def into(self, canaries: Canaries) -> None:
        """Add what was noted, long values in pieces."""
        for what, value in self.values:
            if isinstance(value, bytes) and len(value) > _LONG:
                for piece in (value[:32], value[-32:]):
                    canaries.add(what, piece)
            else:
                canaries.add(what, value)


def add_secrets(canaries: Canaries, owner: str, secrets: dict[str, bytes]) -> None:
    """Add a keystore's content, seeds one by one, numbers as numbers too."""
    for name, value in secrets.items():
        pieces = [value] if len(value) <= 128 else [value[i : i + 16] for i in range(0, len(value), 16)]
        for piece in pieces:
            canaries.add(f"{owner} {name}", piece)
            canaries.add(f"{owner} {name}", int.from_bytes(piece, "big"))


# --- in one process


@pytest.fixture
def logs_restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    configure_logs(json=False, level=30)


def all_messages(house: House) -> list[Message]:
    return [
        message
        for topic in TopicName
        for partition in range(TOPICS[topic].partitions)
        for message in house.messages(topic, partition)
    ]


def reprs_of_the_project() -> str:
    """Return how every object of the project that is alive right now shows itself."""
    shown = []
    for thing in gc.get_objects():
        if str(type(thing).__module__).split(".", maxsplit=1)[0] in _PACKAGES:
            with contextlib.suppress(AttributeError):  # half built, or half gone
                shown.append(repr(thing))
    return "\n".join(shown)


def traces_of(failures: Sequence[Callable[[], object]]) -> str:
    """Return the tracebacks of calls that must fail."""
    traces = []
    for fail in failures:
        with pytest.raises((PrivMLError, ValueError, TypeError, KeyError)) as failed:
            fail()
        traces.append("".join(traceback.format_exception(failed.value)) + repr(failed.value))
    return "\n".join(traces)


@pytest.mark.parametrize("owner_keys", [False, True])
async def test_a_whole_tenant_tells_no_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    logs_restored: None,
    owner_keys: bool,
) -> None:
    recorder, shown = Recorder(monkeypatch), list[str]()
    configure_logs(json=True, level=10, role="all")
    async with House(tmp_path, owner_keys=owner_keys) as house:
        async with house.units_running() as master:
            await house.publish("a", house.records(40, 0), house.records(60, 1))
            await until(lambda: model_of(master.unit).records == 100)
            queries = [await house.put_query(house.records(40, "rows"), "c")]
            await until(lambda: len(house.answers()) == 1)
            house.labels(queries[0])
            await asyncio.gather(*(house.ask(house.records(30, i), "cd"[i % 2]) for i in range(3)))
            owner = house.owner("a")
            start = await owner.receipts_end()
            withdrawn = await owner.withdraw(1)
            _ = [receipt async for receipt in owner.receipts({withdrawn.chunk_id}, start, PATIENCE)]
            await lay(house, TopicName.CHUNKS, 0, hostile_chunks(house))
            await lay(house, TopicName.QUERIES, 0, hostile_queries(house))
            await house.publish("b", house.records(30, 2))
            shown += [reprs_of_the_project(), repr(master), repr(master.unit)]
        shown.append(reprs_of_the_project())
        # From here on as on a terminal, and through deaths of both units.
        configure_logs(json=False, level=10, role="all")
        for topic in (TopicName.JOURNAL, TopicName.ROUND_REQUESTS):
            dying = house.transport()
            dying.die(topic, 1)
            queries.append(await house.put_query(house.records(3, str(topic)), "c", len(queries)))
            async with house.su():
                await let_die(house.mu(dying))
        async with house.units_running():
            await until(lambda: len(house.answers()) >= 4 + len(queries) - 1)
            await house.ask(house.records(5, "last"))
        shown.append(traces_of(failures(house)))
        canaries = Canaries()
        for role, memory in house.units.items():
            add_secrets(canaries, role, memory.secrets)
        for name, key in {**house.client_keys, **house.owner_keys}.items():
            canaries.add(f"theta of {name}", key.theta)
        for name, signing in house.signing.items():
            canaries.add(f"signing key of {name}", signing.private_bytes_raw())
        recorder.into(canaries)
        canaries.discard(query_ids(house))
        messages = all_messages(house)
    captured = capsys.readouterr()
    assert '"event": "refused"' in captured.err
    assert len(canaries.values) > 3000
    assert {name.split(" #")[0] for name in canaries.values} >= {
        *("coins", "mask or randomness", "plaintext", "masked plaintext", "answer", "mu seed", "su delta"),
        *("su theta", "mu receiver_seeds", "su receiver_seeds", "theta of c", "signing key of a"),
        *(("mu strong_share", "su strong_share", "theta of a") if owner_keys else ()),
    }
    for text in (captured.out, captured.err, caplog.text, *shown):
        assert canaries.found_in(text) == []
    for message in messages:
        content = [message.key or b"", *message.headers.values(), message.value]
        assert canaries.found_in(b" ".join(content)) == [], message.topic
    assert canaries.found_below(tmp_path) == {}
    # The search is not in vain: what is public is found by it.
    public = Canaries()
    for query_id in query_ids(house):
        public.add("query id", query_id)
    assert sum(bool(public.found_in(message.value)) for message in messages) >= 2 * len(queries)


def query_ids(house: House) -> set[bytes]:
    """Return the ids of all queries on the topic: of what clients draw, they alone are public."""
    ids = set()
    for message in house.messages(TopicName.QUERIES):
        with contextlib.suppress(ValueError, TypeError, IndexError, msgpack.UnpackException):
            query_id = msgpack.unpackb(wire_body(message.value))[0]
            ids.add(query_id) if isinstance(query_id, bytes) else None
    return ids


def failures(house: House) -> list[Callable[[], object]]:
    """Return calls that fail with secrets at hand."""
    small, tenant = house.small, house.tenant
    stranger = house.client_keys["d"]
    rows_ = house.records(2, "failing")
    seeded = seeded_coins("failing")
    query = make_query(house.learner(), "c", rows_, seeded)
    bits = encode_bits(tenant.schema, rows_)
    (answer, *_) = house.answers()
    mine = replace_id(query, answer.query_id, answer.rows)
    layout = tenant.query_layout(2)
    secrets = dict(house.units["su"].secrets)
    t2s = [1, 2]
    return [
        lambda: read_answer(house.learner(), stranger, mine, answer),
        lambda: layout.pack([small.master.theta] * layout.values),
        lambda: layout.unpack([small.master.theta] * 2),
        lambda: opening.open_masked(tenant.parameters, layout, bytes(64), t2s, small.secondary.theta),
        lambda: opening.open_masked(tenant.parameters, layout, b"\1" * 128, t2s, small.secondary.theta),
        lambda: small.secondary.sender.extend(b"short", bytes(16), 128),
        lambda: small.secondary.receiver.extend(bits.reshape(-1) + 2, bytes(16)),
        lambda: type(small.secondary.sender)(small.secondary.sender.delta[1:], small.secondary.sender.seeds),
        lambda: unit_keys("su", {**secrets, "seed": secrets["seed"][1:]}, lambda _: None),
        lambda: unit_keys("su", {"theta": secrets["theta"]}, lambda _: None),
        lambda: small.client_key.public.encrypt(small.secondary.theta << 300, seeded),
        lambda: tenant.service_key.encrypt_with(1, small.secondary.theta << 300),
        lambda: Passphrase(small.secondary.seed * 1000),
        small.secondary.__reduce__,
        seeded.__reduce__,
        lambda: replace(small.client_key, public=stranger.public),
    ]


def replace_id(query: Any, query_id: bytes, count: int) -> Any:
    fields = {name: getattr(query, name) for name in query.__struct_fields__}
    return type(query)(**{**fields, "query_id": query_id, "rows": count})


# --- as processes

# A foreign library that fails, and quotes what it was given: the worst that an error can say.
TALKATIVE = """
import sys
place, told = sys.argv[1], sys.argv[2]
module, name = place.rsplit(".", 1)
import importlib
def fail(*arguments, **named):
    raise ValueError(f"{told}: {arguments!r} {named!r}", told) from RuntimeError(told)
setattr(importlib.import_module(module), name, fail)
from pipeline.commands.main import main
sys.exit(main(sys.argv[3:]))
"""
WHERE = {
    "mu": "roles.building_blocks.opening.half_open",
    "su": "roles.building_blocks.opening.finish_open",
    "owner": "roles.proving.prove_plaintexts",
    "client": "roles.proving.prove_plaintexts",
}


class Plants:
    """Recognisable values, told from the texts of the project by their digits."""

    def __init__(self) -> None:
        self.canaries = Canaries()
        self._coins = seeded_coins("plants")

    def text(self, what: str) -> str:
        """Return a word that stands nowhere else."""
        word = "cnry" + self._coins.bytes(8).hex()
        self.canaries.add(what, word.encode())
        return word

    def number(self, what: str) -> str:
        """Return a number between 0 and 25 that stands nowhere else."""
        digits = f"{self._coins.below(10**16):016d}"
        self.canaries.add(what, digits.encode())
        return f"{self._coins.below(25)}.{digits}"

    def records(self, count: int, seed: int) -> list[tuple[str, ...]]:
        """Return records whose weights nobody else has."""
        return [(colour, size, self.number("cell"), label) for colour, size, _, label in rows(count, seed)]


@pytest.mark.slow
def test_a_deployment_tells_no_secret(deployment: Deployment, tmp_path: Path) -> None:
    plants = Plants()
    outputs = tmp_path / "outputs"
    outputs.mkdir()

    def run(*arguments: str, code: int, talkative: str | None = None) -> None:
        """Run a command with --debug to its end, which is a failure of that kind, and keep all it says."""
        given = ["--debug", *arguments, "--config", str(deployment.config), "--json"]
        wrapper = deployment.command()
        if talkative is not None:
            wrapper = [sys.executable, "-P", "-c", TALKATIVE, WHERE[talkative], plants.text("foreign text")]
        done = subprocess.run([*wrapper, *given], capture_output=True, timeout=PATIENCE, check=False)
        number = len(list(outputs.iterdir()))
        (outputs / f"{number} {arguments[0]}").write_bytes(done.stdout + done.stderr)
        assert done.returncode == code, done.stderr
        assert b"Error" in done.stderr
        assert b"Traceback" not in done.stderr

    def csv(name: str, records: list[tuple[str, ...]], columns: Sequence[str] = COLUMNS) -> str:
        return str(write_csv(tmp_path / f"{name}.csv", records, columns))

    good = csv("good", plants.records(120, 1))
    asked = csv("asked", [record[:3] for record in plants.records(4, 2)], COLUMNS[:3])
    publish = ("owner", "publish", "--owner", "a")
    predict = ("predict", "--client", "c")
    with deployment.units():
        assert deployment.run(*publish, "--wait", good).code == 0
        done = deployment.run(*predict, asked)
        assert done.code == 0
        (outputs / "answers").write_text(str(done))
    # The owner's and the client's own mistakes.
    bad = plants.records(5, 3)
    for column in (0, 2, 3):
        spoilt = [*bad[:4], (*bad[4][:column], plants.text("bad cell"), *bad[4][column + 1 :])]
        run(*publish, csv("bad", spoilt), code=3)
    run(
        *publish, csv("swallowed", bad, (*COLUMNS, f'"{plants.text("cell")}\n{plants.text("cell")}"')), code=3
    )
    run("predict", "--client", "c", csv("query", bad, ("x", "y", "z", "w")), code=3)
    # Wrong and damaged secrets.
    wrong = tmp_path / "wrong"
    wrong.write_text(plants.text("wrong passphrase") + "\n")
    run(*publish, good, "--passphrase-file", str(wrong), code=4)
    damaged = tmp_path / "damaged.key"
    damaged.write_bytes((deployment.folder / "T" / "keys" / "mu.key").read_bytes()[:-40])
    damaged.chmod(0o600)
    run("mu", "--keystore", str(damaged), code=4)
    # Bugs, in the middle of secrets.
    run(*publish, csv("more", plants.records(110, 4)), code=70, talkative="owner")
    run(*predict, asked, code=70, talkative="client")
    with deployment.unit("mu"), deployment_query(deployment, asked):
        run("su", code=70, talkative="su")
    with deployment.unit("su"):
        run("mu", code=70, talkative="mu")
    add_keystores(plants.canaries, deployment)
    inputs = {*tmp_path.rglob("*.csv"), wrong, deployment.folder / "T" / "passphrase"}
    for path in inputs:
        path.unlink(missing_ok=True)
    names = {name.split(" #")[0] for name in plants.canaries.values}
    assert names >= {"cell", "bad cell", "foreign text", "wrong passphrase", "passphrase", "su delta"}
    assert names >= {"mu theta", "su theta", "c theta", "mu seed", "a signing_key", "mu receiver_seeds"}
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) > 30
    assert plants.canaries.found_below(tmp_path) == {}


@contextlib.contextmanager
def deployment_query(deployment: Deployment, asked: str) -> Iterator[None]:
    """Have a client ask, and stop waiting when the block ends."""
    client = deployment.begin("predict", "--client", "c", asked)
    try:
        yield
    finally:
        client.kill()
        client.communicate()


def add_keystores(canaries: Canaries, deployment: Deployment) -> None:
    """Add what the keystores of all parties hold, and what opens them."""
    folder = deployment.folder / "T"
    passphrase = Passphrase.from_file(folder / "passphrase")
    canaries.add("passphrase", passphrase.value)
    for path in sorted((folder / "keys").glob("*.key")):
        add_secrets(canaries, path.stem, dict(Keystore.open(path, passphrase).secrets))
