"""Signals end commands and services, whenever they come."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.commands.running import run_command, run_service

WORK = """
import asyncio, sys
from pipeline.commands.output import INTERRUPTED, command_errors
from pipeline.commands.running import run_command, run_service

async def work():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        if sys.argv[2] == "summary":
            return print("summary", flush=True)
        raise
    finally:
        print("drained", flush=True)
        if sys.argv[2] == "stubborn":
            await asyncio.sleep(60)

with command_errors(json=False):
    {"command": run_command, "service": run_service}[sys.argv[1]](work())
"""
# As a shell script starts a job with `&`.
IGNORING = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


def ended(
    kind: str, end: str, *signals: signal.Signals, background: bool = False
) -> tuple[int, list[str], str]:
    """Return how a process ended that gets signals, each when it has printed a line, and what it printed."""
    prefix = IGNORING if background else ()
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", WORK, kind, end],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        for number in signals:
            # In the background the first one may do nothing.
            if not lines or not background:
                lines.append(process.stdout.readline().strip())
            process.send_signal(number)
        rest = process.stdout.read().split()
        return process.wait(timeout=30), [*lines, *rest], process.stderr.read()


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("background", [False, True])
def test_a_service_ends_with_0_on_either_signal(ended_by: signal.Signals, background: bool) -> None:
    assert ended("service", "prompt", ended_by, background=background) == (0, ["ready", "drained"], "")
    found = ended("service", "summary", ended_by, background=background)
    assert found == (0, ["ready", "summary", "drained"], "")


def test_a_second_interrupt_ends_what_takes_its_time() -> None:
    twice = (signal.SIGINT, signal.SIGINT)
    assert ended("service", "stubborn", *twice)[:2] == (0, ["ready", "drained"])
    assert ended("command", "stubborn", *twice)[:2] == (130, ["ready", "drained"])


def test_a_command_ends_as_interrupted() -> None:
    assert ended("command", "prompt", signal.SIGINT) == (130, ["ready", "drained"], "interrupted\n")
    code, lines, _ = ended("command", "prompt", signal.SIGINT, signal.SIGTERM, background=True)
    assert (code, lines) == (-signal.SIGTERM, ["ready"])


@pytest.mark.parametrize("run", [run_command, run_service])
def test_a_signal_wakes_a_loop_that_waits(run: object) -> None:
    woken_by = []

    async def work() -> None:
        # What the interpreter writes to from within the signal; without it, a waiting loop stays so.
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor)
        woken_by.append(descriptor)

    assert callable(run)
    run(work())
    assert woken_by[0] >= 0
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_signals_are_left_alone() -> None:
    async def work() -> int:
        return 7

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: run_command(work())).result() == 7
