"""Whole processes, measured one by one and taking turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.demo.server import binaries

ROOT = Path(__file__).parent.parent.parent
AUDIENCES = str(Path(sys.executable).parent / "audiences")
CHILD = (sys.executable, "-I", "-S", str(Path(__file__).parent / "child.py"))
RSS_UNITS_PER_MB = 1 << 20 if sys.platform == "darwin" else 1 << 10

Commands = Mapping[str, Sequence[str]]
"""A command for each name. It writes its files into the folder that it is started in."""


class BenchError(Exception):
    """A measured command failed, or its files are not what they should be."""


@dataclass(frozen=True)
class Measured:
    """One process from start to end, as its parent sees it."""

    seconds: float
    peak_mb: float
    stdout: str


def measured(command: Sequence[str], folder: Path) -> Measured:
    """Run a command in a folder. Raises `BenchError`, with the end of its stderr, if it fails."""
    done = subprocess.run([*CHILD, *command], cwd=folder, capture_output=True, text=True)
    stderr, _, report = done.stderr.rpartition("\n")
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}\nexit code {done.returncode}: {stderr[-2000:]}")
    seconds, peak = report.split()
    return Measured(float(seconds), int(peak) / RSS_UNITS_PER_MB, done.stdout)


def taking_turns(commands: Commands, runs: int, snapshot: Path) -> dict[str, list[Measured]]:
    """Each command `runs` times, A B C A B C, each in a fresh folder that is removed."""
    taken: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            with scratch(snapshot) as folder:
                taken[name].append(measured(command, folder))
    return taken


@contextmanager
def scratch(snapshot: Path | None = None) -> Iterator[Path]:
    """A folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="audiences-bench-", dir=snapshot) as folder:
        yield Path(folder)


@contextmanager
def phase(label: str) -> Iterator[None]:
    """One line that says what is being done and, when it is, how long it took."""
    print(f"{label} ... ", end="", flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s", flush=True)


def least_peak_mb() -> float:
    """The peak that a process shows which holds nothing."""
    return measured(["true"], ROOT).peak_mb


def psql(url: str, *arguments: str) -> list[str]:
    """A psql command that stops at the first error."""
    program = str(binaries() / "psql")
    return [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments]
