"""What a run costs, on data at scale: `python -m tests.bench`, in the project's folder.

Everything is measured as a whole process, from its start to its end: wall time, and peak memory of
the client (not of the server). Nothing is judged: there are no thresholds.

- quiet and storm: the shipped audience on a made-up marketplace, where few users did something in
  the window and where about half of them end up in the files. The runner takes turns with the
  script that `audiences compile` prints, run by psql, and with a client that fetches rows and works
  in memory. Once for each scenario it is checked that all three write the same rows. psql makes the
  same statements as the runner but writes no manifest, takes no checksum and flushes nothing to
  disk. `its own time` is what the runner reports: without starting Python and importing.
- memory: one file of 10,000, 100,000 and 1,000,000 rows, by the runner and by psql.
- startup: commands that need no database, and Python alone.

By default the server is one of its own, removed at the end. On the server that `--url` names, the
databases bench_quiet and bench_storm are made, and dropped at the end; its user should be a
superuser, else filling them takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from tests.bench import layer3, streaming
from tests.bench.processes import AUDIENCES, ROOT, BenchError, least_peak_mb, scratch, taking_turns
from tests.bench.report import peak_of, seconds_of
from tests.bench.servers import marketplace, server

RECENT_SHARES = {"quiet": 0.01, "storm": 0.12}
SCENARIOS = (*RECENT_SHARES, "memory", "startup")


def main() -> int:
    options = _options()
    chosen = options.only or SCENARIOS
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
            if name in chosen:
                with marketplace(url, f"bench_{name}", options.users, share) as database:
                    title = f"{name}: {options.users:,} users, {options.runs} runs each"
                    layer3.compare(title, database, as_of, options.runs)
        if "memory" in chosen:
            streaming.grow(url, options.runs)


def _start_up(runs: int) -> None:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "audiences --help": [AUDIENCES, "--help"],
        "audiences compile": [
            AUDIENCES, "compile", layer3.AUDIENCE, "--project-dir", str(ROOT),
        ],
    }  # fmt: skip
    with scratch() as snapshot:
        taking_turns(commands, 1, snapshot)
        taken = taking_turns(commands, runs, snapshot)
    print("\nstart-up: median seconds, peak MB")
    for name, measurements in taken.items():
        seconds = median(seconds_of(measurements))
        print(f"{name:<24}{seconds:>9.3f}{peak_of(measurements):>8.1f}")


if __name__ == "__main__":
    sys.exit(main())
