"""`audiences demo`"""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from runner.cli.console import print_note, print_text, reported

EXAMPLE = "audiences demo --reset"


@reported()
def command(
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Recreate the demo's data, then exit. Default: keep running."),
    ] = False,
) -> None:
    """Start the demo database, print its URL, and keep it running until Ctrl-C.

    Other commands start and stop it by themselves; this one is for looking into it with psql.
    """
    from runner.demo import demo

    with demo.running(reset=reset) as url:
        if reset:
            print_text("the demo's data was recreated", is_product=False)
            return
        print_text(f"psql '{url}'\nrunning until Ctrl-C")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print_note("stopped")
