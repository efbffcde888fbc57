"""The `audiences` command: which commands there are, and how the process starts."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from runner import __version__
from runner.cli import analyst_commands, folder_commands, inspection_commands, operator_commands
from runner.cli.console import Terminated

app = typer.Typer(
    name="audiences",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Turn the marketplace database into push-audience CSV files.",
    epilog="Exit codes: 0 done, 1 failed (nothing published), 2 usage or configuration, "
    "3 partial, 4 locked by another run, 130, 143 and 129 interrupted.",
)

OPERATING = "Run and operate"
KEEPING = "Look after what runs left"
ANALYSING = "Read and change the models"
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    OPERATING: {
        "run": operator_commands.run,
        "check": operator_commands.check,
        "compare": operator_commands.compare,
        "demo": operator_commands.demo_command,
    },
    KEEPING: {
        "history": folder_commands.history,
        "verify": folder_commands.verify,
        "clean": folder_commands.clean,
    },
    ANALYSING: {
        "list": analyst_commands.list_audiences,
        "compile": analyst_commands.compile_command,
        "test": analyst_commands.test_command,
        "show": inspection_commands.show,
        "explain": inspection_commands.explain_command,
        "schema": inspection_commands.schema,
        "docs": inspection_commands.docs,
        "trace": inspection_commands.trace,
    },
}
for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)


def main() -> None:
    """Entry point of the `audiences` script."""
    # libraries' own warnings are no part of our log, and may hold what must not be shown
    logging.lastResort = None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    app()


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(128 + number)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Turn the marketplace database into push-audience CSV files."""
    if version:
        typer.echo(f"push-audiences {__version__}")
        raise typer.Exit
