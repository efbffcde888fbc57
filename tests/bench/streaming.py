"""Peak memory against rows: an audience without tables, as large as asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

from tests.bench.processes import (
    AUDIENCES,
    ROOT,
    BenchError,
    Commands,
    Measured,
    measured,
    psql,
    scratch,
    taking_turns,
)
from tests.bench.report import Taken, peak_of, table
from tests.bench.servers import write_profile

SIZES = (10_000, 100_000, 1_000_000)

PROPERTIES = """
version: 2

audiences:
  - name: pushes
    description: As many rows as asked for.
    parameters:
      - name: rows
        type: integer
        default: 1000
        minimum: 1
        maximum: 1000000000
        description: How many rows.
    activity_model: made_up
    outputs:
      - audience_type: made_up
        model: made_up
        file: made-up
        columns: [user_id, username, product_name, variant_id, seen_at, demand]
        order_by: [user_id]
    line_ending: lf
    test_row:
      test_user: {user_id: "0", username: nobody}
      placeholders: {product_name: none, variant_id: none, seen_at: "", demand: ""}

models:
  - name: made_up
    description: One row per number.
"""

MODEL = """
select
    n as user_id,
    'user_' || n as username,
    'Product, "' || md5('product' || n) || '"' as product_name,
    md5('variant' || n) as variant_id,
    timestamptz '2025-11-28 00:00:00+00' + interval '1 second' * n as seen_at,
    n % 100 as demand
from generate_series(1, {{ var('rows') }}) as given (n)
"""


def grow(url: str, runs: int) -> None:
    """Measure the runner and psql at each size, and print tables and the spread of the peaks."""
    peaks = []
    print()
    with scratch() as snapshot:
        write_profile(snapshot, {"bench": url})
        _write_project(snapshot)
        for rows in SIZES:
            taken = _measure(snapshot, url, rows, runs)
            peaks.append(peak_of(taken["runner"]))
            print(f"memory: {rows:,} rows in one file, {runs} runs each\n{table(taken, ['psql'])}")
            print(f"{_streaming_line(taken)}\n")
    print(f"the runner's peaks lie within {max(peaks) - min(peaks):.1f} MB")


def _write_project(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "pushes.yml").write_text(PROPERTIES)
    (folder / "models" / "made_up.sql").write_text(MODEL.lstrip())


def _measure(project: Path, url: str, rows: int, runs: int) -> dict[str, list[Measured]]:
    commands = _commands(project, url, rows)
    warm = taking_turns(commands, 1, project)
    made = json.loads(warm["runner"][0].stdout)["audienceSize"]
    if made != rows:
        raise BenchError(f"{made:,} rows instead of {rows:,}")
    return taking_turns(commands, runs, project)


def _commands(project: Path, url: str, rows: int) -> Commands:
    where = ["--project-dir", str(project), "--target", "bench", "--var", f"rows={rows}"]
    script = project / f"{rows}.psql"
    compiled = measured([AUDIENCES, "compile", "pushes", *where], ROOT).stdout
    script.write_text(compiled.replace("\n\\copy ", "\n\\timing on\n\\copy "))
    run = [AUDIENCES, "run", "pushes", *where, "--output-dir", ".", "--json", "-q"]
    return {"runner": run, "psql": psql(url, "-f", str(script))}


def _streaming_line(taken: Taken) -> str:
    """The seconds of writing the file alone, of the runner and of psql's `\\copy`."""
    runner = median(_file_seconds(run) for run in taken["runner"])
    by_psql = median(_copy_seconds(run) for run in taken["psql"])
    return f"writing the file alone: runner {runner:.3f} s, \\copy {by_psql:.3f} s, {runner / by_psql:.2f}"


def _file_seconds(run: Measured) -> float:
    steps = json.loads(run.stdout)["metadata"]["steps"]
    return sum(step["executionTimeMs"] for step in steps if step["kind"] == "file") / 1000


def _copy_seconds(run: Measured) -> float:
    """The first `\\copy` is that of the production file."""
    milliseconds, *_ = re.findall(r"^Time: ([\d.]+) ms", run.stdout, re.MULTILINE)
    return float(milliseconds) / 1000
