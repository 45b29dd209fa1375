"""What a tenant can carry: the tables of docs/scaling.md, computed from measured service times.

Chunks: MU as a queue with Poisson arrivals, one server and service in batches of whatever waits, whose
time is a constant and a part per chunk (M/G/1 with bulk service, by fixed point). Queries: M/G/c with c
processes of SU, by Lee and Longton's approximation from Erlang's C.

`python -m benchmarks.queueing [FILE.json]` prints the tables, with the service times of a report of
`python -m benchmarks --only pipeline. --json FILE.json`, or with those of the page.
"""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OWNERS = (1, 3, 10, 30, 100)
SHARDS = (1, 2, 4, 8)
CHUNKS_PER_HOUR = 60.0
"""Of one owner: a chunk a minute."""
QUERIES_PER_HOUR = 600.0
"""Of one owner's clients together."""
FULL_BATCH = 128
VARIATION = 1.0
"""Squared coefficient of variation of SU's time for a query: garbling and powers differ by model."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Service times in seconds.

    Attributes:
        batch: What a batch of chunks costs MU whatever its size: topics, disk, wake-ups.
        chunk: What one chunk costs MU in a full batch.
        query: What one query costs a process of SU, all its rounds.
    """

    batch: float = 0.133
    chunk: float = 1 / 167
    query: float = 3 / 92.6


def bulk_wait(measured: Measured, rate: float) -> tuple[float, float]:
    """Return (load, mean seconds from arrival to receipt) of chunks that come at a rate.

    A batch takes what came while the one before was served, so that its size k solves
    k = rate * (batch + k * chunk), at least 1. A chunk waits half a batch on average, and its own.
    """
    load = rate * measured.chunk + rate * measured.batch / FULL_BATCH
    if load >= 1:
        return load, math.inf
    size = max(1.0, rate * measured.batch / (1 - rate * measured.chunk))
    service = measured.batch + size * measured.chunk
    busy = min(1.0, rate * service / size)
    return load, busy * service / 2 + service


def query_wait(measured: Measured, rate: float, shards: int) -> tuple[float, float]:
    """Return (load, mean seconds that SU needs for a query, waiting included)."""
    offered = rate * measured.query
    load = offered / shards
    if load >= 1:
        return load, math.inf
    # Erlang's B by its recursion, then C.
    blocked = 1.0
    for number in range(1, shards + 1):
        blocked = offered * blocked / (number + offered * blocked)
    waiting = blocked / (1 - load * (1 - blocked))
    queue = waiting * measured.query / (shards * (1 - load)) * (1 + VARIATION) / 2
    return load, queue + measured.query


def tables(measured: Measured) -> Iterator[str]:
    """Yield the lines of the tables."""
    batch, chunk, query = (1e3 * seconds for seconds in (measured.batch, measured.chunk, measured.query))
    times = f"{batch:.0f} ms a batch and {chunk:.1f} ms a chunk at MU, {query:.0f} ms a query at SU"
    yield f"Service times: {times}."
    yield from ("", "| Owners | chunks a second | MU's load | chunk to receipt |", "|---:|---:|---:|---:|")
    for owners in OWNERS:
        rate = owners * CHUNKS_PER_HOUR / 3600
        load, wait = bulk_wait(measured, rate)
        yield f"| {owners} | {rate:.2f} | {load:.1%} | {_seconds(wait)} |"
    most = 0.8 / (measured.chunk + measured.batch / FULL_BATCH)
    late = _seconds(bulk_wait(measured, most)[1])
    yield f"| {most / (CHUNKS_PER_HOUR / 3600):,.0f} | {most:.0f} | 80.0% | {late} |"
    head = "".join(f" {count} |" for count in SHARDS)
    yield from ("", f"| Owners | queries a second |{head}", "|---:|---:|" + "---:|" * len(SHARDS))
    for owners in OWNERS:
        rate = owners * QUERIES_PER_HOUR / 3600
        cells = []
        for count in SHARDS:
            load, wait = query_wait(measured, rate, count)
            cells.append(f" {load:.1%}, {_seconds(wait)} |" if load < 1 else " too much |")
        yield f"| {owners} | {rate:.2f} |{''.join(cells)}"


def measured_in(file: Path) -> Measured:
    """Return the service times of a report; those that it does not have are the page's."""
    found = Measured()
    rows = {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    chunk = 1 / rows["pipeline.chunks_log"]["value"] if "pipeline.chunks_log" in rows else found.chunk
    query = found.query
    if "pipeline.shards" in rows:
        # The note has the rounds a second of one process; a query has three.
        query = 3 / float(rows["pipeline.shards"]["note"].split("; ")[1].split()[0])
    alone = rows["pipeline.alone"]["value"] if "pipeline.alone" in rows else found.batch + chunk
    return Measured(max(alone - chunk, 0.0), chunk, query)


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.1f} s"


if __name__ == "__main__":
    measured = measured_in(Path(sys.argv[1])) if len(sys.argv) > 1 else Measured()
    print("\n".join(tables(measured)))
