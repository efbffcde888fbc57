"""The `audiences` command: which commands there are, and how the process starts and ends."""

from __future__ import annotations

import inspect
import logging
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from runner import __version__
from runner.cli.console import Terminated, final_code, guard_output

app = typer.Typer(
    name="audiences",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Turn the marketplace database into push-audience CSV files.",
    epilog="Exit codes: 0 done; 1 failed, nothing was published; 2 wrong usage or configuration; "
    "3 some files were published and some failed; 4 another run of the audience is going on; "
    "129, 130 and 143 ended by a signal.",
)

COMMANDS = {
    "Run and operate": ("run", "check", "compare", "demo"),
    "Look after past runs": ("history", "verify", "clean"),
    "Read and change the models": (
        "list", "compile", "test", "show", "explain", "trace", "docs", "schema",
    ),
}  # fmt: skip
"""By the heading that --help prints above them. Each is a module of its name in `commands`."""


def _paragraphs(command: Callable[..., None]) -> str:
    """A docstring, each paragraph as one line, so that the terminal's width breaks it."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for _heading, _names in COMMANDS.items():
    for _name in _names:
        _module = import_module(f"runner.cli.commands.{_name}")
        app.command(
            _name,
            help=_paragraphs(_module.command),
            epilog=f"Example: {_module.EXAMPLE}",
            rich_help_panel=_heading,
        )(_module.command)


def main() -> None:
    """Entry point of the `audiences` script."""
    # libraries' own warnings are no part of our log, and may hold what must not be shown
    logging.lastResort = None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    guard_output()
    try:
        app()
    except SystemExit as ending:
        sys.exit(final_code(ending.code))


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(128 + number)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Turn the marketplace database into push-audience CSV files."""
    if version:
        typer.echo(f"push-audiences {__version__}")
        raise typer.Exit
