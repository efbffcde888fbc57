"""How a command ends: exit code, one line for an error, one document on stdout with --json."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import typer

from runner.errors import EXIT_FAILED, AudienceError

P = ParamSpec("P")


class Terminated(SystemExit):
    """SIGTERM or SIGHUP. For a SystemExit the driver cancels the running statement."""


def reported(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turns a command's return value or error into its exit code; errors are one line."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
        except AudienceError as problem:
            _tell_error(command.__name__, str(problem), kwargs, problem.excerpt())
            code = problem.exit_code
        except (KeyboardInterrupt, Terminated) as problem:
            is_ours = isinstance(problem, Terminated)
            code = int(problem.code or EXIT_FAILED) if isinstance(problem, Terminated) else 130
            what = ["terminated" if is_ours else "interrupted"]
            what += getattr(problem, "__notes__", [])
            _tell_error(command.__name__, ": ".join(what), kwargs)
        raise typer.Exit(code)

    return wrapper


def _tell_error(
    command: str, message: str, options: Mapping[str, object], excerpt: str | None = None
) -> None:
    """One line on stderr in the log's format, as text with the source lines it is about below it;
    with --json a document of the usual shape."""
    from runner.project.secrets import redacted

    message = redacted(message)
    excerpt = excerpt and redacted(excerpt)
    if options.get("log_format") == "json":
        from runner.cli.logs import error_line

        typer.echo(error_line(message), err=True)
    else:
        typer.echo(f"error: {message}", err=True)
        if excerpt:
            typer.echo(excerpt, err=True)
    if options.get("as_json"):
        from runner.files.document import RunResult

        if command in ("check", "verify"):
            say_json({"valid": False, "errors": [message], "checks": []})
        else:
            say_json(RunResult("failed", error=message).as_json())


def say_json(document: Any) -> None:
    """Print one JSON document on stdout, without secrets."""
    from runner.project.secrets import redacted_document

    _say(json.dumps(redacted_document(document), indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Print on stdout, without secrets."""
    from runner.project.secrets import redacted

    _say(redacted(text))


def _say(text: str) -> None:
    """Whoever closed stdout, or let it fill, does not change what was done."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):
            typer.echo(f"stdout cannot be written to: {problem.strerror}", err=True)
