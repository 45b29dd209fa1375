"""Exclusive CPU time by part, thread by thread: a clock that changes hands at the borders between parts."""

import functools
import importlib
import inspect
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType, ModuleType
from typing import Any

from benchmarks.profile.parts import FUNCTIONS, METHODS, MODULES

OURS = ("crypto", "schemas", "roles", "pipeline")
NOBODY = ""
"""Whoever has the clock in a thread that is in no part."""


class _Hand:
    """A thread's part of the clock."""

    __slots__ = ("cpu", "part", "seconds")

    def __init__(self) -> None:
        self.part = NOBODY
        self.cpu = time.thread_time()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pass_to(self, part: str) -> str:
        """Note what was used since the last change for whoever had it; return whose turn it was."""
        now, before = time.thread_time(), self.part
        self.seconds[before] += now - self.cpu
        self.cpu, self.part = now, part
        return before


class PartClock:
    """Knows how long the process's threads were in which part."""

    def __init__(self) -> None:
        self._hands: list[_Hand] = []
        self._own = threading.local()
        self._began = 0.0

    def begin(self) -> None:
        """Forget what was before."""
        for hand in list(self._hands):
            hand.seconds.clear()
        self._began = time.process_time()

    @property
    def start_seconds(self) -> float:
        """CPU before `begin`."""
        return self._began

    def seconds(self) -> dict[str, float]:
        """Return CPU seconds by part, and what no part had under an empty name."""
        found: defaultdict[str, float] = defaultdict(float)
        for hand in list(self._hands):
            for part, used in list(hand.seconds.items()):
                found[part] += used if part else 0.0
        found[NOBODY] = max(0.0, time.process_time() - self._began - sum(found.values()))
        return dict(found)

    def wrapped(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return the function with the clock in the hands of a part as long as it runs."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            hand = self._hand()
            if hand.part == part:
                return function(*arguments, **named)
            before = hand.pass_to(part)
            try:
                return function(*arguments, **named)
            finally:
                hand.pass_to(before)

        return timed

    def _hand(self) -> _Hand:
        hand: _Hand | None = getattr(self._own, "hand", None)
        if hand is None:
            hand = self._own.hand = _Hand()
            self._hands.append(hand)
        return hand

    def follow_into_pools(self) -> None:
        """Have what a part hands to a pool of threads count as that part's."""
        submit = ThreadPoolExecutor.submit

        def submitted(
            pool: ThreadPoolExecutor, work: Callable[..., Any], /, *arguments: Any, **named: Any
        ) -> Any:
            part = self._hand().part
            return submit(pool, self.wrapped(work, part) if part else work, *arguments, **named)

        ThreadPoolExecutor.submit = submitted  # type: ignore[method-assign,assignment]

    def install(
        self,
        modules: Mapping[str, str] = MODULES,
        functions: Mapping[str, tuple[str, str]] = FUNCTIONS,
        methods: Mapping[tuple[str, str], tuple[str, ...]] = METHODS,
    ) -> None:
        """Wrap what the parts list, before anybody else imports a name from these modules.

        Args:
            modules: Parts by module.
            functions: A function's name and its part, by module.
            methods: A part and names of methods, by module and class.
        """
        self.follow_into_pools()
        for name, part in modules.items():
            self._wrap_module(importlib.import_module(name), part)
        for name, (function, part) in functions.items():
            module = importlib.import_module(name)
            setattr(module, function, self.wrapped(getattr(module, function), part))
        for (name, kind_name), (part, *names) in methods.items():
            kind = getattr(importlib.import_module(name), kind_name)
            for method in names:
                setattr(kind, method, self.wrapped(getattr(kind, method), part))

    def _wrap_module(self, module: ModuleType, part: str) -> None:
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if _is_plain(value):
                replacement = self.wrapped(value, part)
                setattr(module, name, replacement)
                # Those who imported it already, while the modules of the parts were read.
                _replace(value, replacement)
            elif inspect.isclass(value):
                self._wrap_class(value, part)

    def _wrap_class(self, kind: type, part: str) -> None:
        for name, value in list(vars(kind).items()):
            if name.startswith("__"):
                continue
            if isinstance(value, staticmethod | classmethod) and _is_plain(value.__func__):
                setattr(kind, name, type(value)(self.wrapped(value.__func__, part)))
            elif _is_plain(value):
                setattr(kind, name, self.wrapped(value, part))


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, FunctionType)
        and not inspect.iscoroutinefunction(value)
        and not inspect.isgeneratorfunction(value)
        and not inspect.isasyncgenfunction(value)
    )


def _replace(value: object, replacement: object) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in OURS:
            continue
        for attribute, held in list(vars(module).items()):
            if held is value:
                setattr(module, attribute, replacement)
