"""What a process did and saw: CPU and counted operations by activity, messages by topic and kind.

Figures for people, benchmarks and tests; no decision depends on them.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crypto.counting import Tally, counting


def peak_rss_bytes() -> int:
    """Return the largest memory that this process has had resident so far."""
    # Not what getrusage says: that begins with the memory of whoever started the process.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) * 1024


@dataclass(slots=True)
class Activity:
    """Sums over all times that something was done.

    Attributes:
        times: How often.
        cpu_seconds: CPU time of the process meanwhile, all threads.
        wall_seconds: Wall time.
        started: When it was first done, on a clock that never goes back.
        ended: When it was last finished.
        rounds: Round trips made for it.
        tally: Counted operations.
    """

    times: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    started: float | None = None
    ended: float = 0.0
    rounds: int = 0
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class Seen:
    """Messages of one topic and kind that this process read, and their bytes."""

    messages: int = 0
    bytes: int = 0


ROUND_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds in seconds by which round trips are told apart; the last class has none."""


@dataclass(slots=True)
class Durations:
    """How long something took, as counts by `ROUND_BOUNDS`, and the sum of all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(ROUND_BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Note one more."""
        self.counts[bisect_left(ROUND_BOUNDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Meter:
    """The figures of one process.

    Attributes:
        began: When it began, on a clock that never goes back.
        activities: By name.
        views: By topic and kind.
        letters: Dead letters that it wrote, by reason.
        outcomes: What it decided or was told: (what, model, reason), with an empty reason where all is
            well, and an empty model where none is concerned.
        round_seconds: By activity, MU's round trips, and SU's time for a reply.
    """

    began: float = field(default_factory=time.monotonic)
    activities: dict[str, Activity] = field(default_factory=dict)
    views: dict[tuple[str, str], Seen] = field(default_factory=dict)
    letters: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    round_seconds: dict[str, Durations] = field(default_factory=dict)

    @property
    def dead_letters(self) -> int:
        """How many dead letters it wrote."""
        return self.letters.total()

    @contextmanager
    def activity(self, name: str, times: int = 1) -> Iterator[None]:
        """Add what happens inside to an activity, `times` units of it."""
        cpu, wall = time.process_time(), time.monotonic()
        with counting() as tally:
            try:
                yield
            finally:
                entry = self.activities.setdefault(name, Activity())
                entry.times += times
                entry.cpu_seconds += time.process_time() - cpu
                entry.ended = time.monotonic()
                entry.wall_seconds += entry.ended - wall
                entry.started = wall if entry.started is None else min(wall, entry.started)
                entry.tally.add(tally)

    def round_trip(self, name: str) -> None:
        """Note a round trip made for an activity."""
        self.activities.setdefault(name, Activity()).rounds += 1

    def round_took(self, name: str, seconds: float) -> None:
        """Note how long a round of an activity took."""
        self.round_seconds.setdefault(name, Durations()).add(seconds)

    def outcome(self, what: str, reason: str = "", *, model: str = "", times: int = 1) -> None:
        """Note what became of something: a chunk, a withdrawal, a lesson, a query or a round."""
        self.outcomes[what, model, str(reason)] += times

    def saw(self, topic: str, kind: str, size: int) -> None:
        """Note a message that this process read."""
        entry = self.views.setdefault((topic, kind), Seen())
        entry.messages += 1
        entry.bytes += size

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "cpu_seconds": time.process_time(),
            "peak_rss_bytes": peak_rss_bytes(),
            "dead_letters": self.dead_letters,
            "activities": {
                name: {
                    "times": entry.times,
                    "cpu_seconds": entry.cpu_seconds,
                    "wall_seconds": entry.wall_seconds,
                    "started_seconds": (entry.started or self.began) - self.began,
                    "ended_seconds": max(entry.ended - self.began, 0.0),
                    "rounds": entry.rounds,
                    "counts": entry.tally.as_dict(),
                }
                for name, entry in sorted(self.activities.items())
            },
            "views": [
                {"topic": topic, "kind": kind, "messages": seen.messages, "bytes": seen.bytes}
                for (topic, kind), seen in sorted(self.views.items())
            ],
        }
