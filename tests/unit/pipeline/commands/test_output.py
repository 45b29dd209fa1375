"""stdout, stderr and exit codes: the contract of the command line."""

import errno
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from command_output import read_object

from crypto.errors import NotOpenableError, PrivMLError
from pipeline.commands.output import (
    INTERRUPTED,
    Output,
    command_errors,
    console,
    failure_of,
    progress,
    write_object,
)
from pipeline.keystore import KeystoreError
from pipeline.passphrase import WrongPassphraseError
from schemas.reasons import ExitCode, ReasonCode


class RowError(PrivMLError):
    """An error with a place."""

    code = ReasonCode.UNKNOWN_CATEGORY

    def __init__(self) -> None:
        super().__init__("colour has no category 'mauve'")
        self.hint = "add it to the schema"
        self.file = Path("queries.csv")
        self.line = 7
        self.column = "colour"

    def __str__(self) -> str:
        return "queries.csv:7: repeated in the text"


def run(error: BaseException, *, as_json: bool, debug: bool = False) -> int:
    with pytest.raises(SystemExit) as ended, command_errors(json=as_json, debug=debug):
        raise error
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_an_object_is_one_line_with_its_schema_first(capsys: pytest.CaptureFixture[str]) -> None:
    write_object("demo", {"rows": 3, "workdir": None, "name": "caf\u00e9 \udcff\n"})
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.count("\n") == 1
    assert shown.out.startswith('{"schema": "privml.demo/1"')
    assert json.loads(shown.out)["name"] == "caf\u00e9 \udcff\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_object("demo", {"seconds": value})
    assert capsys.readouterr().out == ""


def test_with_json_stdout_has_objects_only(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=True)
    output.say("working")
    output.document("a table")
    output.result("status", {})
    shown = capsys.readouterr()
    assert [json.loads(line) for line in shown.out.splitlines()] == [{"schema": "privml.status/1"}]
    assert shown.err == "working\n"


def test_without_json_the_document_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=False)
    output.say("working")
    output.document("a table\n")
    output.result("status", {})
    assert capsys.readouterr() == ("a table\n", "working\n")


def test_an_error_with_a_place_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(RowError(), as_json=True) == ExitCode.BAD_INPUT
    shown = capsys.readouterr()
    assert read_object(shown.out) == {
        "schema": "privml.error/1",
        "code": "unknown_category",
        "message": "colour has no category 'mauve'",
        "hint": "add it to the schema",
        "file": "queries.csv",
        "line": 7,
        "column": "colour",
    }
    assert shown.err == (
        "privml: queries.csv, line 7, column colour: colour has no category 'mauve' [unknown_category]\n"
        "  add it to the schema\n"
    )


def test_what_is_unknown_is_null_and_the_hint_falls_back_to_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(NotOpenableError(), as_json=True) == ReasonCode.NOT_OPENABLE.exit_code
    shown = read_object(capsys.readouterr().out)
    assert shown["message"] == ReasonCode.NOT_OPENABLE.meaning
    assert shown["hint"] == ReasonCode.NOT_OPENABLE.hint
    assert (shown["file"], shown["line"], shown["column"]) == (None, None, None)


def test_without_json_an_error_leaves_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    run(RowError(), as_json=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (WrongPassphraseError("no"), ExitCode.CONFIGURATION),
        (KeystoreError("no"), ExitCode.CONFIGURATION),
        (typer.BadParameter("no"), ExitCode.USAGE),
        (OSError(errno.ENOSPC, "full"), ExitCode.STORAGE),
        (OSError(errno.EDQUOT, "full"), ExitCode.STORAGE),
        (OSError(errno.EIO, "broken"), ExitCode.BUG),
        (ZeroDivisionError("no"), ExitCode.BUG),
        (ExceptionGroup("both", [ValueError("no"), KeystoreError("no")]), ExitCode.CONFIGURATION),
        (BaseExceptionGroup("g", [ExceptionGroup("h", [KeyError("no")])]), ExitCode.BUG),
        (KeyboardInterrupt(), INTERRUPTED),
        (typer.Abort(), INTERRUPTED),
        (SystemExit(ExitCode.CHECK_FAILED), ExitCode.CHECK_FAILED),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(error: BaseException, exit_code: int) -> None:
    assert run(error, as_json=False) == exit_code


@pytest.mark.parametrize("debug", [False, True])
def test_a_foreign_message_is_never_shown(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("canary")
    error.__cause__ = KeyError("canary")
    assert run(error, as_json=True, debug=debug) == ExitCode.BUG
    shown = capsys.readouterr()
    assert "canary" not in shown.out + shown.err
    assert "unexpected ValueError" in shown.err
    assert read_object(shown.out)["code"] == "internal_error"
    assert ("test_output.py" in shown.err) == debug


def test_an_error_code_nobody_listed_is_a_bug() -> None:
    class UnlistedError(PrivMLError):
        code = "unlisted"

    failure = failure_of(UnlistedError("canary"))
    assert (failure.code, failure.exit_code) == ("internal_error", ExitCode.BUG)


def test_progress_is_silent_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some build servers set this to get colours everywhere.
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress() as bar:
        bar.advance(bar.add_task("making keys", total=2))
    console().print("[red]plain[/red]")
    assert capsys.readouterr() == ("", "plain\n")


def privml(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


def test_a_reader_that_leaves_early_is_no_bug() -> None:
    script = f"{sys.executable} -m pipeline errors; echo $? >&2"
    ended = subprocess.run(
        ["bash", "-c", f"({script}) | true"], capture_output=True, text=True, check=True, timeout=60
    )
    # The listing may fit into the pipe before its reader is gone.
    assert ended.stderr.strip() in {"0", "141"}


def test_usage_errors_are_objects_too() -> None:
    ended = privml("errors", "--jsno", "--json")
    assert ended.returncode == ExitCode.USAGE
    assert read_object(ended.stdout)["code"] == "usage"
    assert ended.stderr.startswith("privml: No such option")
