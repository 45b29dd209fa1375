"""The pipeline: round trips, intake of chunks, shards, audits, on the embedded log and on Kafka.

Kafka is `$PRIVML_TEST_KAFKA`, a broker without topics, or else the one that `make kafka` copies.
"""

import asyncio
import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.audits import audit_rows
from benchmarks.data_sets import ROOT, available, data_set, title
from benchmarks.deployment import Deployment
from benchmarks.echo import BODY_BYTES, measure_round_trips
from benchmarks.intake import CHUNK_RECORDS, measure_intake
from benchmarks.learner import Learner
from benchmarks.measure import Row
from benchmarks.naive_bayes import SPEC
from benchmarks.report import seconds_text
from benchmarks.shards import Shards

RUNNING = "PRIVML_TEST_KAFKA"
ROUND_TRIP_SECONDS = {"log": 0.002, "kafka": 0.008}
CHUNKS_PER_SECOND = {"log": 120.0, "kafka": 80.0}
SHARDS_RATIO = 1.6
WHERE = {"log": "on the embedded log", "kafka": "on one Kafka broker"}
AUDITS = ("pipeline.audit", "pipeline.audit_without_proofs")
ROUND_TRIPS, CHUNKS, QUERIES = 1000, 384, 20


def pipeline_names() -> list[str]:
    """Return the names of the rows."""
    kinds = [kind for kind in WHERE if kind == "log" or os.environ.get(RUNNING) or _jars().is_dir()]
    names = [f"pipeline.{what}_{kind}" for kind in kinds for what in ("round_trip", "chunks")]
    return [*names, "pipeline.alone", "pipeline.shards", *AUDITS]


def pipeline_rows(deployment: Deployment, names: list[str], *, quick: bool = False) -> Iterator[Row]:
    """Measure the rows of these names.

    Raises:
        RuntimeError, PrivMLError: Something failed.
    """
    for kind in WHERE:
        chosen = [name for name in names if name.endswith(f"_{kind}")]
        if not chosen:
            continue
        with _transport(kind) as url, tempfile.TemporaryDirectory(prefix="privml-bench-") as folder:
            for name in chosen:
                own = Path(folder) / name
                own.mkdir()
                place = url or f"log:{own / 'topics'}"
                measure = _round_trip if "round_trip" in name else _chunks
                yield measure(deployment, kind, place, own, quick=quick)
                if url:
                    asyncio.run(_clean(url))
    if "pipeline.alone" in names:
        yield _alone(deployment, quick=quick)
    if "pipeline.shards" in names:
        yield _shards(deployment.profile.name, quick=quick)
    if set(AUDITS) & set(names):
        # One log serves both.
        yield from audit_rows(deployment.profile.name, quick=quick)


def _round_trip(deployment: Deployment, kind: str, url: str, folder: Path, *, quick: bool) -> Row:
    count = ROUND_TRIPS // 10 if quick else ROUND_TRIPS
    fast, middle, late = asyncio.run(measure_round_trips(deployment, url, folder, count))
    return Row(
        f"pipeline.round_trip_{kind}",
        f"Request and reply of {BODY_BYTES:,} bytes between the units, {WHERE[kind]}, median",
        "round trip",
        middle,
        "s",
        ROUND_TRIP_SECONDS[kind],
        note=f"{count} in turn, sealed, signed, SU's ledger durable; 5th and 95th percentile "
        f"{seconds_text(fast)} and {seconds_text(late)}",
    )


def _chunks(deployment: Deployment, kind: str, url: str, folder: Path, *, quick: bool) -> Row:
    name = available()[0]
    learner = Learner(deployment, data_set(name), SPEC)
    count = CHUNKS // 8 if quick else CHUNKS
    chunks = [learner.publish(learner.data.batch(CHUNK_RECORDS, i), i) for i in range(count)]
    rate = asyncio.run(measure_intake(deployment, learner, chunks, url, folder))
    size = sum(map(len, chunks[0]))
    return Row(
        f"pipeline.chunks_{kind}",
        f"{title(name)}: chunks that wait for MU, from its first look to the last receipt, {WHERE[kind]}",
        "second",
        rate,
        "chunks",
        CHUNKS_PER_SECOND[kind],
        at_least=True,
        note=f"{count} chunks of {CHUNK_RECORDS} records and {size:,} bytes; "
        "every entry durable before its receipt",
    )


def _alone(deployment: Deployment, *, quick: bool) -> Row:
    name = available()[0]
    learner = Learner(deployment, data_set(name), SPEC)
    chunks = [learner.publish(learner.data.batch(CHUNK_RECORDS), 0)]
    seconds = []
    for _ in range(2 if quick else 9):
        with tempfile.TemporaryDirectory(prefix="privml-bench-") as folder:
            url = f"log:{Path(folder) / 'topics'}"
            seconds.append(1 / asyncio.run(measure_intake(deployment, learner, chunks, url, Path(folder))))
    return Row(
        "pipeline.alone",
        f"{title(name)}: one chunk alone, from MU's look at it to its receipt, on the embedded log, median",
        "chunk",
        median(seconds),
        "s",
        note=f"the first one of a process; {len(seconds)} times",
    )


def _shards(profile: str, *, quick: bool) -> Row:
    with tempfile.TemporaryDirectory(prefix="privml-bench-") as folder:
        shards = Shards(Path(folder), profile, 3 if quick else QUERIES)
        pairs = [(shards.rate(1), shards.rate(2)) for _ in range(1 if quick else 3)]
    one, two = (median(rates) for rates in zip(*pairs, strict=True))
    return Row(
        "pipeline.shards",
        "Rounds that two processes of SU answer, by those of one, on the embedded log",
        "",
        median(both / alone for alone, both in pairs),
        "",
        SHARDS_RATIO,
        at_least=True,
        note=f"queries of one row; {one:.1f} and {two:.1f} rounds a second",
    )


@contextlib.contextmanager
def _transport(kind: str) -> Iterator[str]:
    """Yield a broker's URL, empty for the embedded log, which is a folder of each row."""
    if kind == "log":
        yield ""
        return
    if running := os.environ.get(RUNNING):
        yield f"kafka://{running}"
        return
    with _test_broker() as broker:
        yield f"kafka://{broker.address}"


def _jars() -> Path:
    return ROOT / "build" / "kafka" / "libs"


def _test_broker() -> Any:
    sys.path.append(str(ROOT / "tests"))
    return importlib.import_module("kafka.broker").KafkaBroker()


async def _clean(url: str) -> None:
    """Remove the topics that a row made."""
    admin_module = importlib.import_module("aiokafka.admin")
    admin = admin_module.AIOKafkaAdminClient(bootstrap_servers=url.removeprefix("kafka://"))
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith("bench.")]
        await admin.delete_topics(names)
        # Topics go a moment after they were deleted.
        await asyncio.sleep(1.0)
    finally:
        await admin.close()
