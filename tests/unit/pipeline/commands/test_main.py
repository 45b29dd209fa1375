"""The commands that need no deployment."""

import subprocess
import sys

import pytest
from command_output import read_object

from pipeline.commands.main import main
from schemas.reasons import ExitCode, ReasonCode


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == ("privml 0.1.0\n", "")
    assert main(["--version", "--json"]) == 0
    assert read_object(capsys.readouterr().out) == {"schema": "privml.version/1", "version": "0.1.0"}


def test_errors_lists_every_reason_code_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "--json"]) == 0
    listed = read_object(capsys.readouterr().out)
    assert listed["schema"] == "privml.errors/1"
    assert {row["code"]: row["exit_code"] for row in listed["codes"]} == {
        code.value: code.exit_code.value for code in ReasonCode
    }
    assert all(row["meaning"] and row["hint"] for row in listed["codes"])


def test_errors_as_text_names_every_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors"]) == 0
    shown = capsys.readouterr().out
    assert all(code.value in shown for code in ReasonCode)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["errors", "extra"], ["--json", "errors"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    shown = capsys.readouterr()
    assert "[usage]" in shown.err
    if "--json" in arguments:
        assert read_object(shown.out)["code"] == "usage"
    else:
        assert shown.out == ""


def test_no_command_shows_the_help_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    assert "errors" in capsys.readouterr().out


def test_help_does_not_load_what_only_some_commands_need() -> None:
    # Loading numpy or the Kafka client would double the time of every short command.
    script = (
        "import sys; from pipeline.commands.main import main; main(['--version']);"
        "print(sorted({'numpy', 'sklearn', 'aiokafka', 'gmpy2'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
