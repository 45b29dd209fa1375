"""Running a command's coroutine so that a signal always gets through.

`asyncio.run` alone can miss one: a SIGINT that comes between the interpreter's last look and the loop's
wait for events is not seen before the next event, and a command that waits for a message may have none.
The loop's own signal handlers wake it.
"""

import asyncio
import signal
import threading
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from schemas.reasons import ExitCode

T = TypeVar("T")


def run_command(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end and return its result; SIGINT cancels it.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    # Whoever started us with SIGINT ignored means it.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    try:
        return asyncio.run(_interruptible(work, set() if ignored else {signal.SIGINT}))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def run_service(work: Coroutine[Any, Any, None]) -> None:
    """Run a service until SIGTERM or SIGINT, both of which are its ordinary end: exit code 0.

    Raises:
        SystemExit: With 0 when a signal ended the service.
    """
    # A shell without job control starts background processes with SIGINT ignored, and yet may send it.
    try:
        asyncio.run(_interruptible(work, {signal.SIGINT, signal.SIGTERM}))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit(ExitCode.DONE) from None


async def _interruptible(work: Coroutine[Any, Any, T], signals: Collection[signal.Signals]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if task is not None:
            task.cancel()
        # A second SIGINT ends at once what takes its time to end.
        loop.remove_signal_handler(signal.SIGINT)

    # Elsewhere than in the main thread, the process's signals are somebody else's.
    for number in signals if threading.current_thread() is threading.main_thread() else ():
        loop.add_signal_handler(number, interrupt)
    return await work
