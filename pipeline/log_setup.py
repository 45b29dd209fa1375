"""Logs: JSON lines or, on a terminal, readable ones; always on stderr, never with a secret in them.

A log entry may carry only the fields named here, and of those only small values. A field nobody thought
of is dropped, not printed: `log.info("round_answered", **vars(message))` shows nothing it should not.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

ALLOWED_FIELDS = frozenset(
    {
        # what structlog and `configure_logs` add
        "event", "level", "timestamp",
        # who and where
        "role", "tenant", "party", "shard", "pid", "transport", "topic", "partition", "offset", "key_epoch",
        # ids
        "chunk_id", "model", "model_version", "session", "step", "query_id", "sequence", "owner", "client",
        # counts, sizes, durations
        "count", "records", "messages", "bytes", "attempt", "queued", "seconds",
        # kinds
        "kind", "operation", "profile", "classifier", "code", "error", "status",
    }
)  # fmt: skip
MAX_TEXT = 128
_EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Stderr:
    """Whatever is stderr when something is logged, not when logging was set up."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger; until `configure_logs` is called it shows warnings as text."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def configure_logs(*, json: bool, level: int = logging.INFO, role: str | None = None) -> None:
    """Send all logs of this process to stderr, through the allow-list.

    Args:
        json: One JSON object per line instead of text.
        level: The least level shown, of `logging`.
        role: Written into every entry.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_allowed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    if role is not None:
        structlog.contextvars.bind_contextvars(role=role)


def keep_allowed(logger: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every field that is not on the list or holds more than an id, a count or a duration.

    Tracebacks go too, since they quote messages of foreign exceptions: log `error=type(error).__name__`.
    The event is a fixed snake_case name; a formatted sentence is replaced, as it may carry values.
    """
    kept = {name: value for name, value in entry.items() if name in ALLOWED_FIELDS and _is_small(value)}
    event = entry.get("event")
    if not isinstance(event, str) or not _EVENT.fullmatch(event):
        kept["event"] = "unnamed_event"
    return kept


def _is_small(value: object) -> bool:
    # An integer beyond 64 bits is a key, a mask or a ciphertext, whatever its name.
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, float)


if not structlog.is_configured():
    # Left to itself structlog writes to stdout, into the output of whatever command it is.
    configure_logs(json=False, level=logging.WARNING)
