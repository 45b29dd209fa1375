"""What the figures were measured on."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

CPU_FILE = Path("/proc/cpuinfo")
LIBRARIES = ("gmpy2", "numpy", "cryptography")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the software of a run.

    Attributes:
        cpu: Model of the processor.
        cores: Logical processors that this process may use.
        system: Operating system and architecture.
        python: Version.
        privml: Version.
        libraries: Versions of those that do the arithmetic.
        load: Average number of runnable processes in the last minute before the run: how much
            of the machine others had.
        date: Day of the run.
    """

    cpu: str
    cores: int
    system: str
    python: str
    privml: str
    libraries: dict[str, str]
    load: float
    date: str


def this_machine() -> Machine:
    """Look at the machine."""
    return Machine(
        _cpu_model(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        version("privml"),
        {name: version(name) for name in LIBRARIES},
        round(os.getloadavg()[0], 2),
        datetime.now(UTC).date().isoformat(),
    )


def _cpu_model() -> str:
    if CPU_FILE.is_file():
        for line in CPU_FILE.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
