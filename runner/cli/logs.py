"""How a run's events are shown: lines of text, JSON objects, or a progress display.

Everything goes to stderr: stdout is for what a command was asked for.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from runner.clock import milliseconds
from runner.project.secrets import redacted, redacted_document

LogFormat = Literal["text", "json"]


class Redaction(logging.Filter):
    """Hides secrets in whatever a handler is about to show."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), ()
        record.fields = redacted_document(getattr(record, "fields", {}))
        return True


class TextFormatter(logging.Formatter):
    """Time in UTC, level, message, on one line; below it the source lines it is about, if any."""

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split())
        return f"{_time(record)} {record.levelname:<7} {message}{_excerpt(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, message, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False)


def _excerpt(record: logging.LogRecord) -> str:
    lines = getattr(record, "fields", {}).get("excerpt")
    return f"\n{lines}" if lines else ""


def error_line(message: str) -> str:
    """An error that ends a command, as the log has it."""
    record = logging.makeLogRecord({"msg": "%s", "args": (message,), "levelname": "ERROR"})
    record.event = "error"
    return JsonFormatter().format(record)


class ProgressHandler(logging.Handler):
    """For a terminal: a line for each step done, and what is being done below them."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("starting ...")
        self._status.start()

    def close(self) -> None:
        self._status.stop()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        from rich.markup import escape

        message = escape(record.getMessage() + _excerpt(record))
        if getattr(record, "event", "") == "step_started":
            self._status.update(message)
        elif record.levelno >= logging.ERROR:
            self._console.print(f"[red]{message}[/red]", soft_wrap=True)
        else:
            self._console.print(message, soft_wrap=True)


@contextmanager
def logging_to_stderr(log_format: LogFormat, *, is_quiet: bool) -> Iterator[None]:
    """Show the runner's events while this lasts."""
    logger = logging.getLogger("runner")
    handler = _handler(log_format, is_quiet=is_quiet)
    handler.addFilter(Redaction())
    previous = logger.level, logger.propagate
    logger.addHandler(handler)
    is_progress = isinstance(handler, ProgressHandler)
    level = logging.DEBUG if is_progress else logging.INFO
    logger.setLevel(logging.ERROR if is_quiet else level)
    logger.propagate = False
    try:
        yield
    finally:
        handler.close()
        logger.removeHandler(handler)
        logger.level, logger.propagate = previous


def _handler(log_format: LogFormat, *, is_quiet: bool) -> logging.Handler:
    if log_format == "text" and sys.stderr.isatty() and not is_quiet:
        return ProgressHandler()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    return handler


def _time(record: logging.LogRecord) -> str:
    return milliseconds(datetime.fromtimestamp(record.created, UTC))
