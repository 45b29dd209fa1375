"""Peers that can be installed: their environment, and their lines of the comparison.

`python -m benchmarks.compare.installed` (`make peers`) makes build/peers, an environment of its own, and
notes which peers installed and why others did not. The libraries are never imported here.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compare import clear
from benchmarks.compare.entry import BAYES, LINEAR, LOGISTIC, Entry
from benchmarks.compare.splits import lbw, split
from benchmarks.data_sets import ROOT, data_set
from benchmarks.learner import CHUNK_RECORDS
from roles.word_encoding import WORD_LIMIT

FOLDER = ROOT / "build" / "peers"
FOUND = FOLDER / "found.json"
PROGRAMS = Path(__file__).parent / "peers"
SECONDS_TO_INSTALL = 600
SECONDS_TO_RUN = 3600
MESSAGE_LENGTH = 160
PEERS = {
    "phe": ("phe==1.5.0", "gmpy2"),
    "heu": ("sf-heu==0.5.2b0",),
    "tenseal": ("tenseal==0.3.18",),
    "spu": ("spu==0.9.5",),
    "mpyc": ("mpyc==0.11", "numpy", "gmpy2"),
    "openfhe": ("openfhe==1.6.1.0.22.4",),
}
"""What to install, by the module that must import afterwards."""
UNTRIED = {
    "concrete.ml": "not installed: concrete-ml 1.9.0 wants torch 2.3.1, which does not import without CUDA's "
    "libraries; together the wheels are 3.3 GB, and at most 2 GB are taken",
}
"""What is never installed, and why."""
TASKS = {"bayes": BAYES, "logistic": LOGISTIC, "linear": LINEAR}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs in the peers' environment.

    Attributes:
        peer: The module that it needs.
        file: Its file.
        system: What it measures, in words.
        level: Bits of security.
        trust: Who must not collude, and who learns the model, by task.
        task: What it reads.
    """

    peer: str
    file: str
    system: str
    level: str
    trust: Mapping[str, str]
    task: Mapping[str, Any]


def install() -> dict[str, str]:
    """Make the environment and return per peer "" or the reason why it is not there."""
    subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    found = {}
    for module, packages in PEERS.items():
        print(f"{module} …", file=sys.stderr, flush=True)
        found[module] = _install(module, packages)
    FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _install(module: str, packages: tuple[str, ...]) -> str:
    python = str(FOLDER / "bin" / "python")
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *packages,
    ]
    for what, command in (("install", pip), ("import", [python, "-c", f"import {module}"])):
        try:
            ended = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL
            )
        except subprocess.TimeoutExpired:
            return f"takes more than {SECONDS_TO_INSTALL} s to install"
        if ended.returncode:
            last = (ended.stderr.strip() or "no message").splitlines()[-1]
            return f"does not {what}: {last[:MESSAGE_LENGTH]}"
    return ""


def found_peers() -> dict[str, str]:
    """Return what `install` found, and what is never tried."""
    if not FOUND.is_file():
        return dict.fromkeys(PEERS, "not installed: run `make peers`") | UNTRIED
    found: dict[str, str] = json.loads(FOUND.read_text(encoding="utf-8"))
    return found | UNTRIED


def entries(programs: list[Program]) -> Iterator[Entry | str]:
    """Run the programs whose peer is there; yield a sentence for each that failed."""
    missing = found_peers()
    for program in programs:
        if missing.get(program.peer, "not asked for"):
            continue
        found = run(program.file, program.task, program.system)
        if isinstance(found, str):
            yield found
            continue
        for figures in found:
            name = figures.pop("task")
            yield Entry(
                TASKS[name],
                program.peer,
                program.system,
                program.level,
                program.trust[name],
                **figures,
            )


def run(file: str, task: Mapping[str, Any], system: str) -> Any:
    """Run a peer's program and return what it printed, or a sentence that says how it failed."""
    try:
        ended = subprocess.run(
            [FOLDER / "bin" / "python", PROGRAMS / file],
            input=json.dumps(task),
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_RUN,
        )
    except subprocess.TimeoutExpired:
        return f"{system} takes more than {SECONDS_TO_RUN} s"
    if ended.returncode:
        last = (ended.stderr.strip() or "no message").splitlines()[-1]
        return f"{system} ended with an error: {last[:MESSAGE_LENGTH]}"
    return json.loads(ended.stdout)


def programs(*, quick: bool) -> list[Program]:
    """Return all programs with their tasks.

    Args:
        quick: Few records and passes.
    """
    bayes = _bayes_task(200 if quick else 2000, 5 if quick else 50)
    counts = {"bayes": "one key holder who must not collude with the server, and learns the model"}
    adding = [
        Program(
            peer,
            "paillier_counts.py",
            f"{name}, PrivML's packed counts of {CHUNK_RECORDS} records",
            "128 (3072)",
            counts,
            {"library": peer, "bits": 3072, "chunk": CHUNK_RECORDS} | bayes,
        )
        for peer, name in (("phe", "python-paillier"), ("heu", "SecretFlow HEU, ZPaillier"))
    ]
    logistic = _logistic_task(quick=quick)
    sharing = [
        Program(
            "spu",
            "spu_logistic.py",
            f"secret shares: SPU, {protocol}",
            "128",
            {"logistic": trust},
            logistic | {"protocol": protocol, "servers": servers},
        )
        for protocol, servers, trust in (
            ("CHEETAH", 2, "two servers that must not collude; nobody learns the model"),
            ("SEMI2K", 2, "two servers and a dealer, no two of whom collude; nobody learns the model"),
            ("ABY3", 3, "three servers, no two of whom collude; nobody learns the model"),
        )
    ]
    sharing.append(
        Program(
            "mpyc",
            "mpyc_logistic.py",
            "secret shares: MPyC, cubic sigmoid, rate 1",
            "statistical, 30 bits of masks",
            {"logistic": "three servers, no two of whom collude; nobody learns the model"},
            logistic,
        )
    )
    return [
        *adding,
        Program(
            "tenseal",
            "tenseal_bayes.py",
            "FHE: TenSEAL, BFV counts of single records, CKKS queries",
            "128",
            {"bayes": "one key holder who must not collude with the server, and learns model and scores"},
            bayes,
        ),
        Program(
            "tenseal",
            "tenseal_logistic.py",
            "FHE: TenSEAL, CKKS",
            "128",
            {
                "logistic": "one key holder who must not collude with the server, and learns the model",
                "linear": "none between client and server; the server knows the model, the client the score",
            },
            logistic,
        ),
        *sharing,
    ]


def _bayes_task(records: int, rows: int) -> dict[str, Any]:
    parts = split(data_set("nursery"))
    table = clear.bayes_table(parts)
    unit = 1 << clear.FRACTION_BITS
    return {
        "columns": len(table.entries),
        "classes": len(table.priors),
        "train": table.places(parts.data.records.indices[:records]),
        "labels": parts.labels[:records].tolist(),
        "entries": [[entry / unit - clear.LOWEST for entry in row] for row in (*table.entries, table.priors)],
        "rows": table.places(parts.test.indices[:rows]),
        "expected": table.classes(parts.test.indices[:rows]).tolist(),
    }


def _logistic_task(*, quick: bool) -> dict[str, Any]:
    parts, asked = lbw(), split(data_set("wdbc"))
    plane = clear.hyperplane(asked)
    unit, rows = 1 << clear.FRACTION_BITS, 5 if quick else 50
    *weights, bias = plane.weights
    return {
        "train": clear.numbers(parts.data.records).tolist(),
        "labels": parts.labels.tolist(),
        "test": clear.numbers(parts.test).tolist(),
        "test_labels": parts.test_labels.tolist(),
        "passes": 7,
        "run_passes": 1 if quick else 7,
        "limit": 10 if quick else len(parts.data.records),
        "linear": {
            "weights": [weight / unit for weight in weights],
            "bias": bias / unit / WORD_LIMIT,
            "rows": clear.numbers(asked.test)[:rows].tolist(),
            "expected": plane.sides(asked.test)[:rows].tolist(),
        },
    }


if __name__ == "__main__":
    install()
    for name, reason in found_peers().items():
        print(f"{name}: {reason or 'installed'}")
