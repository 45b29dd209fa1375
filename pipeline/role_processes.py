"""Roles as processes of their own: started with a tenant's settings, read by the JSON they print."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.errors import PipelineError
from pipeline.settings import ENVIRONMENT, FILE_NAME
from schemas.reasons import ReasonCode

STOP_SECONDS = 30.0


class StepFailedError(PipelineError):
    """A role's process failed; its own message is above on stderr."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code or ReasonCode.INTERNAL_ERROR


def start(command: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a command of PrivML.

    Args:
        command: Its words, without `--json`.
        folder: Where the tenant's settings are.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, ENVIRONMENT: str(folder / FILE_NAME)},
    )


def finish(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """Wait for a command to end and return the objects that it printed.

    Raises:
        StepFailedError: It failed.
    """
    printed, _ = process.communicate()
    parsed = [json.loads(line) for line in printed.splitlines()]
    if process.returncode:
        code = next((line["code"] for line in parsed if line["schema"] == "privml.error/1"), "")
        raise StepFailedError(f"a step failed with exit code {process.returncode}", code)
    return parsed


def call(command: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Run a command of PrivML; see `start` and `finish`."""
    return finish(start(command, folder))


def cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """Return how much CPU a running process has used, all its threads."""
    # The command's name stands in parentheses, and may hold spaces; user and system ticks follow.
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running_unit(
    role: str, folder: Path, stopped: dict[str, dict[str, Any]]
) -> "Iterator[subprocess.Popen[str]]":
    """Run a unit around the block.

    Args:
        role: ``mu`` or ``su``.
        folder: Where the tenant's settings are.
        stopped: Takes the unit's `stopped/1` object afterwards, by role.

    Raises:
        StepFailedError: It does not start, or does not stop when it is told to.
    """
    process = start([role], folder)
    try:
        _await_ready(process, role)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            printed, _ = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
        for line in printed.splitlines():
            parsed = json.loads(line)
            if parsed["schema"] == "privml.stopped/1":
                stopped[role] = parsed
    if role not in stopped:
        raise StepFailedError(f"{role} did not stop in an orderly way", ReasonCode.INTERNAL_ERROR)


def _await_ready(process: "subprocess.Popen[str]", role: str) -> None:
    output: IO[str] | None = process.stdout
    line = output.readline() if output is not None else ""
    parsed = json.loads(line) if line else {}
    if parsed.get("schema") != "privml.ready/1":
        raise StepFailedError(f"{role} did not start", parsed.get("code", ReasonCode.INTERNAL_ERROR))
