"""The shipped audience, made by the runner, by psql and by a client that works in memory."""

from __future__ import annotations

import csv
import sys
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

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
from tests.bench.report import table
from tests.bench.servers import write_profile

AUDIENCE = "layer3-behavior"
IN_MEMORY = str(Path(__file__).parent / "in_memory.py")
FILES = ("recent-offer-creators", "recent-closet-adders", "recent-wishlist-adders")


def compare(title: str, url: str, as_of: str, runs: int) -> None:
    """Check that all three make the same files, measure them in turns, and print the table.

    Raises `BenchError` if a file differs.
    """
    with scratch() as snapshot:
        write_profile(snapshot, url)
        commands = _commands(snapshot, url, as_of)
        rows = _warm_up(commands, snapshot)
        taken = taking_turns(commands, runs, snapshot)
    print(f"\n{title}; {sum(rows):,} rows ({' + '.join(f'{n:,}' for n in rows)}), same in all")
    print(table(taken))


def _commands(snapshot: Path, url: str, as_of: str) -> Commands:
    project = ["--project-dir", str(ROOT), "--profiles-dir", str(snapshot), "--target", "bench"]
    script = snapshot / "script.psql"
    compiled = measured([AUDIENCES, "compile", AUDIENCE, *project, "--as-of", as_of], ROOT)
    script.write_text(compiled.stdout)
    run = [AUDIENCES, "run", AUDIENCE, *project, "--as-of", as_of, "--output-dir", "."]
    return {
        "runner": [*run, "--json", "-q"],
        "psql": psql(url, "-f", str(script)),
        "in memory": [sys.executable, IN_MEMORY, url, as_of],
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
