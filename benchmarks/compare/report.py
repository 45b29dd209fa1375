"""The comparison as Markdown: a table per task, the reported ratios, and what is missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare.entry import LEVELS, TASKS, Entry
from benchmarks.compare.papers import HEADLINES, Headline
from benchmarks.machine import Machine
from benchmarks.report import number_text, seconds_text

HEAD = (
    "system",
    "security, bits (modulus)",
    "must not collude; who learns the model",
    "train, CPU a record",
    "bytes a record",
    "query, CPU a row",
    "bytes a row",
    "round trips",
    "right, %",
    "published",
)
TOGETHER = ".together"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All lines of one run.

    Attributes:
        machine: Where.
        quick: Too few repetitions to be quoted.
        entries: The lines.
        missing: Per peer why it is not among them, or "".
        failures: Sentences about programs that ended with an error.
    """

    machine: Machine
    quick: bool
    entries: Sequence[Entry]
    missing: Mapping[str, str]
    failures: Sequence[str]

    def markdown(self) -> str:
        """Return the tables."""
        machine = self.machine
        lines = [
            f"{machine.date}, {machine.cpu}, {machine.cores} cores (load {machine.load:g} before the run), "
            f"Python {machine.python}, PrivML {machine.privml}."
        ]
        if self.quick:
            lines += [
                "",
                "**Made with `--quick`, on a machine that did other things too: not to be quoted.** Two "
                "repetitions or one, few rows; TenSEAL's logistic regression is one pass over ten records, "
                "taken seven times.",
            ]
        for task in TASKS:
            found = [entry for entry in self.entries if entry.task == task]
            if found:
                lines += ["", f"### {task}", "", f"| {' | '.join(HEAD)} |", _rule(3, len(HEAD) - 4, 1)]
                lines += [_line(entry) for entry in found]
        lines += ["", "### The ratios that the first PrivML reported", "", *self._headlines()]
        absent = {peer: reason for peer, reason in self.missing.items() if reason}
        if absent or self.failures:
            lines += ["", "Not measured:", ""]
            lines += [f"- `{peer}`: {reason}" for peer, reason in absent.items()]
            lines += [f"- {sentence}" for sentence in self.failures]
        return "\n".join(lines)

    def _headlines(self) -> list[str]:
        sizes = sorted({entry.key.split(".")[1] for entry in self.entries if entry.key.startswith("ours.")})
        columns = [(size, how) for size in reversed(sizes) for how in ("", TOGETHER)]
        names = [
            f"{LEVELS[int(size)]}{', 100 rows a message' if how else ', a row alone'}"
            for size, how in columns
        ]
        lines = [f"| reported | {' | '.join(names)} | why |", _rule(1, len(names), 1)]
        for headline in HEADLINES:
            cells = [self._ratio(headline, size, how) for size, how in columns]
            lines.append(f"| {headline.claim} | {' | '.join(cells)} | {headline.reason} |")
        return lines

    def _ratio(self, headline: Headline, size: str, how: str) -> str:
        if how and not headline.figure.startswith("query"):
            return ""
        by_key = {entry.key: entry for entry in self.entries if entry.task == headline.task}
        other = by_key.get(f"{headline.other}.{size}") or by_key.get(headline.other)
        ours = by_key.get(f"ours.{size}{how}")
        if other is None or ours is None:
            return "not measured"
        theirs, own = getattr(other, headline.figure), getattr(ours, headline.figure)
        ratio = theirs / own
        return f"{number_text(ratio)} {'reached' if ratio >= headline.ratio else '**not reached**'}"


def _rule(texts: int, numbers: int, last: int) -> str:
    return "|" + " --- |" * texts + " ---: |" * numbers + " --- |" * last


def _line(entry: Entry) -> str:
    cells = [
        entry.system,
        entry.level,
        entry.trust,
        _text(entry.train_cpu, seconds_text),
        _text(entry.train_bytes, size_text),
        _text(entry.query_cpu, seconds_text),
        _text(entry.query_bytes, size_text),
        "" if entry.query_rounds is None else str(entry.query_rounds),
        "" if entry.accuracy is None else f"{entry.accuracy:.1f}",
        entry.published,
    ]
    return f"| {' | '.join(cells)} |"


def _text(value: float | None, text: Callable[[float], str]) -> str:
    return "" if value is None else text(value)


def size_text(size: float) -> str:
    """Return a number of bytes with three digits and a fitting unit."""
    for limit, unit in ((1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{number_text(size / limit)} {unit}"
    return f"{number_text(size)} B"
