"""The `audiences` command: which commands there are, and how the process starts and ends."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from runner import __version__
from runner.cli.console import final_code, guard_output, handle_signals

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
        "new", "list", "compile", "test", "show", "explain", "trace", "docs", "schema",
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
    logging.getLogger().addHandler(logging.NullHandler())
    # collecting while modules are imported takes a tenth of a short run, and finds nothing
    gc.set_threshold(50_000)
    handle_signals()
    guard_output()
    try:
        app()
    except SystemExit as ending:
        _exit(final_code(ending.code))


def _exit(code: str | int | None) -> NoReturn:
    """End without taking the interpreter down, which takes a tenth of a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Turn the marketplace database into push-audience CSV files."""
    if version:
        typer.echo(f"push-audiences {__version__}")
        raise typer.Exit
