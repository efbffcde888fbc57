"""What a run costs, on data at scale: `python -m tests.bench`, in the project's folder.

Everything is measured as a whole process, from its start to its end: wall time, and peak memory of
the client (not of the server). Nothing is judged: there are no thresholds.

- daily and storm: the shipped audience on a made-up marketplace of 200,000 users, 1M closet and 1M
  wishlist items and 400,000 offers, with about 4,500 and 85,000 activities in the window. The
  runner takes turns with a script written for psql by hand, with a client that fetches rows and
  works in memory, and with the script that `audiences compile` prints. It also runs without TEMP,
  and with 10 ms to the server. Once for each scenario it is checked that all write the same rows.
- windows: the storm's run for windows of 6 hours to 14 days, without and with declared indexes.
- large: daily with ten times as many users. Only on request.
- memory: one file of 10,000, 100,000 and 1,000,000 rows, by the runner and by psql.
- startup: commands that need no database, and what Python takes to import the libraries.

By default the server is one of its own, removed at the end. On the server that `--url` names,
databases whose names begin with bench_ are made, and dropped at the end; its user must be a
superuser.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.bench import layer3, streaming, windows
from tests.bench.processes import AUDIENCES, ROOT, BenchError, least_peak_mb, scratch, taking_turns
from tests.bench.report import table
from tests.bench.servers import marketplace, server

RECENT_SHARES = {"daily": 0.0023, "storm": 0.076}
DEFAULT = (*RECENT_SHARES, "windows", "memory", "startup")
SCENARIOS = (*DEFAULT, "large")
LIBRARIES = "import typer, sqlalchemy, psycopg, jinja2.sandbox, yaml, pydantic"


def main() -> int:
    options = _options()
    chosen = options.only or DEFAULT
    as_of = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    print(f"as of {as_of}; a peak below {least_peak_mb():.1f} MB cannot be seen")
    try:
        if set(chosen) - {"startup"}:
            _with_server(options, chosen, as_of)
        if "startup" in chosen:
            _start_up(options.runs)
    except BenchError as problem:
        print(f"\nerror: {problem}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    about, *_ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=about)
    parser.add_argument("--users", type=int, default=200_000, help="of each marketplace")
    parser.add_argument("--runs", type=int, default=5, help="of each command, after a warm-up")
    parser.add_argument("--url", help="postgresql://... of a server to use")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="repeatable")
    return parser.parse_args()


def _with_server(options: argparse.Namespace, chosen: Sequence[str], as_of: str) -> None:
    with server(options.url) as url:
        for name, share in RECENT_SHARES.items():
            needs = {name, "windows"} if name == "storm" else {name}
            if needs & set(chosen):
                with marketplace(url, f"bench_{name}", options.users, share) as databases:
                    if name in chosen:
                        title = f"{name}: {options.users:,} users, {options.runs} runs each"
                        layer3.compare(title, databases, as_of, options.runs)
                    if "windows" in needs & set(chosen):
                        windows.grow(databases, as_of, options.runs)
        if "large" in chosen:
            users = 10 * options.users
            with marketplace(url, "bench_large", users, RECENT_SHARES["daily"]) as databases:
                title = f"large: {users:,} users, {options.runs} runs each"
                layer3.compare(title, databases, as_of, options.runs)
        if "memory" in chosen:
            streaming.grow(url, options.runs)


def _start_up(runs: int) -> None:
    commands = {
        "importing the libraries": [sys.executable, "-c", LIBRARIES],
        "audiences --help": [AUDIENCES, "--help"],
        "audiences compile": [
            AUDIENCES, "compile", layer3.AUDIENCE, "--project-dir", str(ROOT),
        ],
    }  # fmt: skip
    with scratch() as snapshot:
        taking_turns(commands, 1, snapshot)
        taken = taking_turns(commands, runs, snapshot)
    print()
    print(table(taken, ["importing the libraries"]))


if __name__ == "__main__":
    sys.exit(main())
