"""The profile as Markdown: wall time beside counted operations, and of every run CPU by part and party."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.machine import Machine
from benchmarks.profile.parts import PARTS
from benchmarks.profile.runs import PARTIES, Profiled
from benchmarks.report import number_text, seconds_text
from pipeline.operation_rates import OperationRates

WANTED = 1.3
CORES = 2
TITLES = {"owners": "owners", "mu": "MU", "su": "SU", "client": "client"}


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """All runs.

    Attributes:
        machine: Where.
        profile: Which sizes.
        quick: Too little data to be quoted.
        rates: Of this machine, measured before the runs.
        runs: What was used.
    """

    machine: Machine
    profile: str
    quick: bool
    rates: OperationRates
    runs: Sequence[Profiled]

    def markdown(self) -> str:
        """Return the tables."""
        machine = self.machine
        lines = [
            f"{machine.date}, {machine.cpu}, {machine.cores} cores (load {machine.load:g} before the run), "
            f"Python {machine.python}, PrivML {machine.privml}, profile `{self.profile}`."
        ]
        if self.quick:
            lines += ["", "**Made with `--quick`: not to be quoted.**"]
        lines += ["", *self._ratios()]
        for run in self.runs:
            lines += ["", *self._parts(run)]
        return "\n".join(lines)

    def _ratios(self) -> list[str]:
        lines = [
            "| run | training, wall | queries one by one | queries together | CPU of all | "
            f"counted operations | wall by counted operations / {CORES} |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for run in self.runs:
            counted, ratio = self.rates.seconds(run.tally), run.overhead(self.rates, CORES)
            cells = [seconds_text(run.wall[phase]) for phase in run.wall]
            cells += [seconds_text(run.cpu_seconds), seconds_text(counted)]
            reached = "met" if ratio <= WANTED else "**not met**"
            what = f"{run.case.what}, {run.trained:,} records, {run.case.queries} queries"
            cells.append(f"{number_text(ratio)}, wanted ≤ {WANTED:g} {reached}")
            lines.append(f"| {what} | {' | '.join(cells)} |")
        return lines

    @staticmethod
    def _parts(run: Profiled) -> list[str]:
        whole = run.cpu_seconds
        lines = [
            f"{run.case.what}, CPU by part, without {seconds_text(run.starts)} of starting the processes:",
            "",
            f"| part | {' | '.join(TITLES[party] for party in PARTIES)} | share |",
            f"| --- |{' ---: |' * (len(PARTIES) + 1)}",
        ]
        for part in PARTS:
            used = [run.seconds[party][part] for party in PARTIES]
            cells = [seconds_text(seconds) if seconds else "" for seconds in used]
            lines.append(f"| {part} | {' | '.join(cells)} | {sum(used) / whole:.1%} |")
        sums = [seconds_text(sum(run.seconds[party].values())) for party in PARTIES]
        idle = max(0.0, CORES * run.wall_seconds - whole)
        lines.append(f"| all | {' | '.join(sums)} | |")
        lines += [
            "",
            f"Waiting: of {CORES} × {seconds_text(run.wall_seconds)} the cores had nothing of this to do for "
            f"{seconds_text(idle)}.",
        ]
        return lines
