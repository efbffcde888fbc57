"""The shipped audience, made by the runner, by hand in psql and by a client that works in memory."""

from __future__ import annotations

import csv
import sys
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from tests.bench.latency import delayed
from tests.bench.processes import (
    AUDIENCES,
    ROOT,
    BenchError,
    Commands,
    measured,
    psql,
    scratch,
    taking_turns,
)
from tests.bench.report import RUNNER, table
from tests.bench.servers import Databases, write_profile

AUDIENCE = "layer3-behavior"
IN_MEMORY_CLIENT = str(Path(__file__).parent / "in_memory.py")
HAND_WRITTEN = str(Path(__file__).parent / "hand_written.psql")
ROUND_TRIP_SECONDS = 0.010
FILES = ("recent-offer-creators", "recent-closet-adders", "recent-wishlist-adders")


BY_HAND, IN_MEMORY = "psql by hand", "in memory"
BASES = (IN_MEMORY, BY_HAND)


def compare(title: str, databases: Databases, as_of: str, runs: int) -> None:
    """Check that all make the same files, measure them in turns, and print the table.

    Raises `BenchError` if a file differs.
    """
    with scratch() as snapshot, delayed(databases.url, ROUND_TRIP_SECONDS) as far:
        write_profile(snapshot, {"bench": databases.url, "reader": databases.reader, "far": far})
        commands = _commands(snapshot, databases.url, as_of)
        rows = _warm_up(commands, snapshot)
        taken = taking_turns(commands, runs, snapshot)
    print(f"\n{title}; {sum(rows):,} rows ({' + '.join(f'{n:,}' for n in rows)}), same in all")
    print(table(taken, BASES))


def run_on(target: str, snapshot: Path, as_of: str, *options: str) -> list[str]:
    """The command of a run on one target of the profile in `snapshot`."""
    project = ["--project-dir", str(ROOT), "--profiles-dir", str(snapshot), "--target", target]
    fixed = ["--as-of", as_of, "--output-dir", ".", "--json", "-q"]
    return [AUDIENCES, "run", AUDIENCE, *project, *fixed, *options]


def _commands(snapshot: Path, url: str, as_of: str) -> Commands:
    project = ["--project-dir", str(ROOT), "--profiles-dir", str(snapshot), "--target", "bench"]
    script = snapshot / "script.psql"
    compiled = measured([AUDIENCES, "compile", AUDIENCE, *project, "--as-of", as_of], ROOT)
    script.write_text(compiled.stdout)
    return {
        RUNNER: run_on("bench", snapshot, as_of),
        "runner without TEMP": run_on("reader", snapshot, as_of),
        "runner, server 10 ms away": run_on("far", snapshot, as_of),
        IN_MEMORY: [sys.executable, IN_MEMORY_CLIENT, url, as_of],
        BY_HAND: psql(url, "-v", f"as_of={as_of}", "-f", HAND_WRITTEN),
        "psql, compiled models": psql(url, "-f", str(script)),
    }


def _warm_up(commands: Commands, snapshot: Path) -> list[int]:
    """Run each once; the number of rows in each production file."""
    with ExitStack() as stack:
        folders = {name: stack.enter_context(scratch(snapshot)) for name in commands}
        for name, command in commands.items():
            measured(command, folders[name])
        return [_same_rows(stem, folders) for stem in FILES]


def _same_rows(stem: str, folders: dict[str, Path]) -> int:
    """The number of rows of a production file that is equal everywhere, row by row, in order."""
    with ExitStack() as stack:
        paths = [_production(stem, folder) for folder in folders.values()]
        files = [stack.enter_context(path.open(newline="", encoding="utf-8")) for path in paths]
        count = 0
        for count, rows in enumerate(zip_longest(*map(csv.reader, files))):
            _demand_same(f"{stem}, row {count}", dict(zip(folders, rows, strict=True)))
        return count


def _production(stem: str, folder: Path) -> Path:
    (_test,) = folder.glob(f"{stem}_TEST_*.csv")
    (production,) = folder.glob(f"{stem}_[0-9]*.csv")
    return production


def _demand_same(where: str, rows: dict[str, list[str] | None]) -> None:
    first, *others = rows.values()
    if any(other != first for other in others):
        told = "\n".join(f"  {name}: {row}" for name, row in rows.items())
        raise BenchError(f"{where}: the files differ\n{told}")
