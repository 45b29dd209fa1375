"""An event loop without time: it jumps to whatever is due next, and is the same in every run.

Threads are not started either: what services hand to a thread runs in the loop, after a drawn delay,
so that the order in which things happen is a function of one seed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_THREAD_SECONDS = 0.02


class DeadlockError(AssertionError):
    """Everybody waits, and nothing is due."""


class _Events:
    """Stands where a loop looks for sockets: there are none, and waiting takes no time."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that the loop would have slept."""
        if timeout is None:
            raise DeadlockError("everybody waits, and nothing is due")
        self._loop.now += timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """A loop whose clock is a number.

    Attributes:
        now: Seconds since it began.
        random: Decides how long things take.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.now = 0.0
        self.random = random
        self._selector = _Events(self)

    def time(self) -> float:
        """Return the simulated time."""
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run a function in the loop, a drawn while later; one that was cancelled before is not run."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:
                # Whoever dies in here has ended all that waits, this future too.
                if not future.done():
                    future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.random.uniform(0, LONGEST_THREAD_SECONDS), run)
        return future

    def _process_events(self, events: list[Any]) -> None:
        del events

    def _write_to_self(self) -> None:
        return


class InlinePool(ThreadPoolExecutor):
    """Threads for powers that are none."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it at once."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
