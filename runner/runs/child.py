"""A command in a process group of its own: its output line by line, a timeout, and a sure end."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.runs.signals import uninterrupted

GRACE_SECONDS = 10
"""From the signal that asks the command to end to the one that ends it."""
TICK_SECONDS = 0.1
LONGEST_SHOWN = 2_000
"""Characters of a line that are logged."""
LONGEST_LINE = 1 << 16
"""Bytes after which a line is logged though it has not ended."""


@dataclass
class Output:
    """What a command prints: `hide` takes secrets out of a line before `report` gets it. `last` is
    the last line logged."""

    hide: Callable[[str], str]
    report: Callable[[str], None]
    last: str = ""
    _waiting: bytes = b""

    def read(self, stream: IO[bytes]) -> bool:
        """Tell what is there. False if nothing more will come."""
        data = os.read(stream.fileno(), LONGEST_LINE)
        *lines, self._waiting = re.split(rb"[\r\n]", self._waiting + data)
        for line in lines:
            self._show(line)
        if len(self._waiting) > LONGEST_LINE:
            self.end()
        return bool(data)

    def end(self) -> None:
        """Tell a last line without a newline."""
        self._show(self._waiting)
        self._waiting = b""

    def _show(self, line: bytes) -> None:
        text = self.hide(line.decode(errors="replace"))
        plain = "".join(one if one.isprintable() else " " for one in text).strip()
        if plain:
            self.last = plain[:LONGEST_SHOWN]
            self.report(self.last)


def run_child(
    command: Sequence[str], folder: Path, output: Output, *, timeout_seconds: float
) -> int:
    """Run `command` in `folder`: its exit code, or -N if signal N ended it.

    It has this process's environment and no input. Ctrl-C and signals that end this process are
    passed on. Raises `OSError` if it cannot be started, `TimeoutError` if it does not end; in
    every case its whole process group is gone.
    """
    number: int = signal.SIGTERM
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return _follow(process, output, time.monotonic() + timeout_seconds)
    except KeyboardInterrupt:
        number = signal.SIGINT
        raise
    except SystemExit as problem:
        number = problem.code - 128 if isinstance(problem.code, int) else number
        raise
    finally:
        with uninterrupted():
            _stop(process, output, number)


def _follow(process: subprocess.Popen[bytes], output: Output, deadline: float) -> int:
    """Read until the command has ended, however long others hold its output open."""
    assert process.stdout is not None, "it is a pipe"
    is_open = True
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if is_open and selector.select(min(left, TICK_SECONDS)):
                is_open = output.read(process.stdout)
            elif (code := process.poll()) is not None:
                output.end()
                return code
            elif not is_open:
                time.sleep(min(left, TICK_SECONDS))


def _stop(process: subprocess.Popen[bytes], output: Output, number: int) -> None:
    """End what is left of the process group: asked first, then killed."""
    _signal_group(process, number)
    with suppress(TimeoutError):
        _follow(process, output, time.monotonic() + GRACE_SECONDS)
    _signal_group(process, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
