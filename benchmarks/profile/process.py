"""A command of PrivML with the clock installed: `python -m benchmarks.profile.process FILE COMMAND …`.

What the parts used is written to FILE as JSON when the command ends.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.profile.clock import PartClock


def main() -> int:
    """Run the command and return its exit code."""
    file, *command = sys.argv[1:]
    clock = PartClock()
    clock.install()
    began = _watch(clock)
    from pipeline.commands.main import main as privml  # noqa: PLC0415  (after the wrapping)

    try:
        return privml(command)
    finally:
        report = {
            "start_seconds": clock.start_seconds,
            "seconds": clock.seconds(),
            "began": began[-1] if began else 0.0,
        }
        Path(file).write_text(json.dumps(report), encoding="utf-8")


def _watch(clock: PartClock) -> list[float]:
    """Have the clock begin when the work begins: when a unit listens, or else at the first thing metered.

    What comes before is the process's start: imports, keys, tables.

    Returns:
        Takes the time at which the process's meter began.
    """
    from pipeline.meter import Meter  # noqa: PLC0415
    from pipeline.unit_probe import UnitProbe  # noqa: PLC0415

    began: list[float] = []
    activity, listening = Meter.activity, UnitProbe.listening

    def metered(self: Meter, *arguments: Any, **named: Any) -> Any:
        if not began:
            clock.begin()
            began.append(self.began)
        return activity(self, *arguments, **named)

    def listens(self: UnitProbe) -> None:
        clock.begin()
        began.append(self._meter.began)
        listening(self)

    _set(Meter, "activity", metered)
    _set(UnitProbe, "listening", listens)
    return began


def _set(kind: type, name: str, method: Callable[..., Any]) -> None:
    setattr(kind, name, method)


if __name__ == "__main__":
    sys.exit(main())
