"""`python -m benchmarks.compare.encryption`: one encryption at 2048 bits beside Paillier libraries."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time

from benchmarks.compare import installed
from benchmarks.data_sets import ROOT
from benchmarks.machine import Machine, this_machine
from benchmarks.page import write_between
from benchmarks.report import number_text, seconds_text
from crypto.arithmetic import power
from crypto.coins import Coins
from crypto.dtpkc import PublicKey
from crypto.parameters import Parameters
from crypto.profiles import Profile, profile

PAGE = ROOT / "docs" / "benchmarks.md"
MARKER = "encryption"
PROFILE = "legacy"
TOGETHER = 100
TURNS, QUICK_TURNS = 5, 2
LIBRARIES = {
    "heu": "SecretFlow HEU, ZPaillier",
    "phe": "python-paillier",
}
MEASURED_AGAINST = "heu"


@dataclass(frozen=True, slots=True)
class Encryption:
    """One system.

    Attributes:
        key: Short name.
        system: Name and variant.
        seconds: CPU of a ciphertext, one for every turn; in a turn every system is measured once.
    """

    key: str
    system: str
    seconds: Sequence[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare.encryption", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two turns; not for quoting")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    machine, chosen = this_machine(), profile(PROFILE)
    found = measured(chosen, QUICK_TURNS if options.quick else TURNS)
    text = report(machine, chosen, [line for line in found if isinstance(line, Encryption)])
    missing = [f"- {sentence}" for sentence in found if isinstance(sentence, str)]
    if missing:
        text = "\n".join([text, "", "Not measured:", "", *missing])
    if options.write_docs:
        write_between(PAGE, MARKER, text)
    print(text)
    return 0


def measured(chosen: Profile, turns: int) -> list[Encryption | str]:
    """Measure all systems by turns, so that what else the machine does meets all of them."""
    ways: dict[str, tuple[str, Callable[[], float | str]]] = dict(_ours(chosen))
    missing = installed.found_peers()
    failed: list[Encryption | str] = []
    for library, system in LIBRARIES.items():
        if reason := missing.get(library, "not asked for"):
            failed.append(f"`{library}`: {reason}")
        else:
            ways[library] = system, _peer(library, system, chosen.modulus_bits)
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for turn in range(turns):
        print(f"turn {turn + 1} of {turns} …", file=sys.stderr, flush=True)
        for key, (_, way) in list(ways.items()):
            taken = way()
            if isinstance(taken, str):
                failed.append(taken)
                del ways[key]
            else:
                seconds[key].append(taken)
    return [*(Encryption(key, system, seconds[key]) for key, (system, _) in ways.items()), *failed]


def _ours(chosen: Profile) -> Iterator[tuple[str, tuple[str, Callable[[], float]]]]:
    coins = Coins.fresh()
    # What a power costs depends on the size of N and not on its factors.
    n = coins.integer_bits(chosen.modulus_bits) | 1 << chosen.modulus_bits - 1 | 1

    def residue() -> int:
        # N has small factors, but it is odd.
        return power(2, coins.integer_bits(2 * chosen.modulus_bits), n * n)

    key = PublicKey(Parameters(chosen, n, residue()), residue())
    key.prepare()
    message = coins.integer_bits(chosen.modulus_bits - 82)
    several = [message] * TOGETHER

    def alone() -> float:
        return _cpu(lambda: [key.encrypt(message, coins) for _ in range(TOGETHER)])

    yield "ours", (f"PrivML, profile `{chosen.name}`, tables of g and h", alone)
    yield (
        "ours.together",
        (
            f"PrivML, the same, {TOGETHER} in one call",
            lambda: _cpu(lambda: key.encrypt_many(several, coins)),
        ),
    )


def _cpu(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return (process_time() - start) / TOGETHER


def _peer(library: str, system: str, bits: int) -> Callable[[], float | str]:
    def run() -> float | str:
        found = installed.run("paillier_counts.py", {"library": library, "bits": bits, "alone": True}, system)
        return found if isinstance(found, str) else float(found["encrypt_cpu"])

    return run


def report(machine: Machine, chosen: Profile, lines: Sequence[Encryption]) -> str:
    """Return the table as Markdown; ratios are those of the turns, their median."""
    text = [
        f"{machine.date}, {machine.cpu}, {machine.cores} cores (load {machine.load:g} before the run), "
        f"Python {machine.python}, PrivML {machine.privml}, {chosen.modulus_bits} bits.",
        "",
        "| | CPU a ciphertext, median (range) | by that of HEU in the same turn |",
        "| --- | ---: | ---: |",
    ]
    against = next((line for line in lines if line.key == MEASURED_AGAINST), None)
    for line in lines:
        ratio = ""
        if against is not None:
            ratio = number_text(
                median(own / other for own, other in zip(line.seconds, against.seconds, strict=True))
            )
        times = median(line.seconds), min(line.seconds), max(line.seconds)
        middle, low, high = map(seconds_text, times)
        text.append(f"| {line.system} | {middle} ({low} to {high}) | {ratio} |")
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
