"""`--log-format`: how a role logs, the same for all of them."""

import logging
from enum import StrEnum
from typing import Annotated

import typer

from schemas.topics import Role

ENVIRONMENT = "PRIVML_LOG_FORMAT"


class LogFormat(StrEnum):
    """What log entries look like."""

    JSON = "json"
    CONSOLE = "console"


LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        envvar=ENVIRONMENT,
        show_envvar=False,
        help=f"How to log to stderr: json or console. [default: ${ENVIRONMENT}, else as --json says]",
        show_default=False,
    ),
]


def start_logs(chosen: LogFormat | None, role: Role, *, json: bool) -> None:
    """Begin to log as a role.

    A unit logs what it does in any case. A command of an owner or a client, which somebody watches, shows
    warnings alone unless a format is asked for.

    Args:
        chosen: The option.
        role: Written into every entry.
        json: Whether the command was called with ``--json``.
    """
    from pipeline.log_setup import configure_logs

    as_json = json if chosen is None else chosen is LogFormat.JSON
    watched = chosen is None and role in {Role.OWNER, Role.CLIENT}
    level = logging.WARNING if watched else logging.INFO
    configure_logs(json=as_json and not watched, level=level, role=role.value)
