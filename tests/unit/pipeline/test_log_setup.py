"""Nothing that is not on the list reaches the logs."""

import json
import logging

import pytest
import structlog

from pipeline.commands.log_format import LogFormat, start_logs
from pipeline.log_setup import MAX_TEXT, configure_logs, keep_allowed
from schemas.topics import Role


@pytest.fixture(autouse=True)
def restored() -> object:
    yield
    structlog.contextvars.clear_contextvars()
    # Not the library's defaults: those write to stdout, into what later tests read.
    configure_logs(json=False, level=logging.WARNING)


def test_listed_fields_stay_and_all_others_go() -> None:
    entry = {"event": "round_answered", "session": "s1", "step": 4, "seconds": 0.5, "theta": 7, "mask": "m"}
    assert keep_allowed(None, "info", entry) == {
        "event": "round_answered",
        "session": "s1",
        "step": 4,
        "seconds": 0.5,
    }


@pytest.mark.parametrize(
    "value", [1 << 64, -(1 << 64), b"\x01", "x" * (MAX_TEXT + 1), [1], {"a": 1}, ValueError("canary")]
)
def test_a_listed_name_does_not_let_a_large_value_through(value: object) -> None:
    assert keep_allowed(None, "info", {"event": "seen", "count": value}) == {"event": "seen"}


@pytest.mark.parametrize("event", ["opened 1234 with key 99", "theta=7", "", 7, None])
def test_a_formatted_sentence_is_no_event(event: object) -> None:
    assert keep_allowed(None, "info", {"event": event}) == {"event": "unnamed_event"}


def test_json_lines_go_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(json=True, role="su")
    log = structlog.get_logger()
    log.info("round_answered", step=4, theta="canary")
    try:
        int("canary")
    except ValueError:
        log.exception("session_failed", error="ValueError")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "canary" not in shown.err
    first, second = [json.loads(line) for line in shown.err.splitlines()]
    assert first.items() >= {"event": "round_answered", "level": "info", "role": "su", "step": 4}.items()
    assert second.items() >= {"event": "session_failed", "level": "error", "error": "ValueError"}.items()


def test_text_has_no_control_codes_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(json=False)
    structlog.get_logger().warning("peer_silent", attempt=2)
    shown = capsys.readouterr().err
    assert "peer_silent" in shown
    assert "\x1b" not in shown


def test_the_level_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(json=True, level=logging.WARNING)
    structlog.get_logger().info("unimportant")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("role", [Role.MU, Role.SU, Role.OWNER, Role.CLIENT])
@pytest.mark.parametrize("chosen", list(LogFormat))
def test_every_role_logs_in_the_format_asked_for_through_the_list(
    capsys: pytest.CaptureFixture[str], role: Role, chosen: LogFormat
) -> None:
    start_logs(chosen, role, json=False)
    structlog.get_logger().info("round_answered", step=4, theta="canary")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "canary" not in shown.err
    if chosen is LogFormat.JSON:
        assert json.loads(shown.err).items() >= {"event": "round_answered", "role": role.value}.items()
    else:
        assert "round_answered" in shown.err
        assert f"role={role.value}" in shown.err


def test_without_a_format_units_log_what_they_do_and_watched_commands_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for role, lines in ((Role.MU, 2), (Role.CLIENT, 1)):
        start_logs(None, role, json=True)
        structlog.get_logger().info("round_answered")
        structlog.get_logger().warning("peer_silent")
        shown = capsys.readouterr().err.splitlines()
        assert len(shown) == lines
        assert shown[0].startswith("{") is (role is Role.MU)
