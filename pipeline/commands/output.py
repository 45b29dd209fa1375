"""What a command prints and how it ends: JSON on stdout, words on stderr, one exit code per kind of failure.

docs/cli.md is the contract. With ``--json`` stdout carries JSON objects and nothing else, errors
included; whoever drives PrivML by a program needs neither stderr nor a regular expression.
"""

import errno
import json as json_codec
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from crypto.errors import PrivMLError
from schemas.reasons import ReasonCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of text.")]
"""The option every command has."""


# As a shell reports a process that the signal ended.
INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE


@dataclass(frozen=True, slots=True)
class Output:
    """Where one command sends its results.

    Args:
        json: The command was called with ``--json``.
    """

    json: bool

    def result(self, kind: str, fields: Mapping[str, object]) -> None:
        """Print one JSON object if JSON was asked for; streaming commands call this once per line.

        Args:
            kind: The command's object, "demo" for the schema "privml.demo/1".
            fields: snake_case names; numbers finite, absent figures None.
        """
        if self.json:
            write_object(kind, fields)

    def document(self, text: str) -> None:
        """Print what was asked for as text made to be piped on; nothing with ``--json``."""
        if not self.json:
            sys.stdout.write(text.removesuffix("\n") + "\n")

    def say(self, text: str) -> None:
        """Tell the person at the terminal; always on stderr."""
        sys.stderr.write(text.removesuffix("\n") + "\n")
        sys.stderr.flush()


def write_object(kind: str, fields: Mapping[str, object]) -> None:
    """Write one JSON object and a newline to stdout at once.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value has no JSON form, bytes for instance.
    """
    line = json_codec.dumps({"schema": f"privml.{kind}/1", **fields}, allow_nan=False)
    # One write and a flush: a reader of a stream gets whole lines, each as soon as it is known.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def console() -> "Console":
    """Return the console of stderr: no colour and no control codes unless it is a terminal."""
    from rich.console import Console

    terminal = sys.stderr.isatty()
    return Console(
        stderr=True, highlight=False, force_terminal=terminal, color_system="auto" if terminal else None
    )


def progress() -> "Progress":
    """Return a progress bar on stderr that stays silent unless stderr is a terminal."""
    from rich.progress import Progress

    target = console()
    return Progress(console=target, transient=True, disable=not target.is_terminal)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as its reader gets it; `line` counts from 1, the header of a table being line 1."""

    code: str
    message: str
    hint: str | None
    file: str | None
    line: int | None
    column: str | None
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """Say whose fault an error is and what to do, without a value that might be secret.

    The text of our own errors is shown as it is; of all others only the kind, since a foreign message
    may quote what it was given.
    """
    leaf = _leaf(error)
    if isinstance(leaf, typer.TyperException):
        return _failure(ReasonCode.USAGE, leaf.format_message() or "wrong usage")
    # Where a peer refused, the reason that it gave says more than the kind of error.
    code = getattr(leaf, "reason", None) or getattr(leaf, "code", None)
    if isinstance(leaf, PrivMLError) and code in set(ReasonCode):
        file = getattr(leaf, "file", None)
        reason = ReasonCode(code)
        return _failure(
            reason,
            # Not str(leaf): that may repeat the place and the hint.
            next((text for text in leaf.args[:1] if isinstance(text, str)), "") or reason.meaning,
            hint=getattr(leaf, "hint", None),
            file=None if file is None else str(file),
            line=getattr(leaf, "line", None),
            column=getattr(leaf, "column", None),
            exit_code=getattr(leaf, "exit_code", None),
        )
    if isinstance(leaf, OSError) and leaf.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _failure(ReasonCode.STORAGE_FULL, "no space is left to write to")
    return _failure(ReasonCode.INTERNAL_ERROR, f"unexpected {type(leaf).__name__}: this is a bug in PrivML")


@contextmanager
def command_errors(*, json: bool, debug: bool = False) -> Iterator[None]:
    """Turn whatever a command raises into its message, its JSON object and its exit code.

    Entered once, around every command, by `pipeline.commands.main`.

    Args:
        json: Print the error as an object on stdout too.
        debug: Print where an error came from: files and lines, no values.

    Raises:
        SystemExit: With the exit code of the failure.
    """
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, SystemExit):
        raise
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our stdout has left. Without this the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from None
    except (Exception, BaseExceptionGroup) as error:  # the outermost place: nothing may pass unexplained
        failure = failure_of(error)
        if debug:
            _write_trace(_leaf(error))
        _write_failure(failure, json=json)
        raise SystemExit(failure.exit_code) from None


def _leaf(error: BaseException) -> BaseException:
    """Return the error to report from an exception group: the first of our own, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, PrivMLError)), leaves[0])


def _failure(
    reason: ReasonCode,
    message: str,
    *,
    hint: str | None = None,
    file: str | None = None,
    line: int | None = None,
    column: str | None = None,
    exit_code: int | None = None,
) -> Failure:
    ending = reason.exit_code if exit_code is None else exit_code
    return Failure(reason.value, message, hint or reason.hint, file, line, column, ending)


def _write_failure(failure: Failure, *, json: bool) -> None:
    place = failure.file or ""
    if failure.line is not None:
        place += f", line {failure.line}"
    if failure.column is not None:
        place += f", column {failure.column}"
    text = f"privml: {place.removeprefix(', ')}{': ' if place else ''}{failure.message} [{failure.code}]\n"
    if failure.hint:
        text += f"  {failure.hint}\n"
    sys.stderr.write(text)
    sys.stderr.flush()
    if json:
        write_object(
            "error",
            {
                "code": failure.code,
                "message": failure.message,
                "hint": failure.hint,
                "file": failure.file,
                "line": failure.line,
                "column": failure.column,
            },
        )


def _write_trace(error: BaseException) -> None:
    # Not traceback.print_exception: it ends with the message, and the messages of causes.
    sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
    sys.stderr.write(f"{type(error).__module__}.{type(error).__qualname__}\n")
