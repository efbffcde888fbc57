"""How the time of a run grows with the window, without and with the indexes that models declare."""

from __future__ import annotations

import json
from statistics import median

from tests.bench.layer3 import run_on
from tests.bench.processes import AUDIENCES, ROOT, measured, scratch, taking_turns
from tests.bench.report import seconds_of
from tests.bench.servers import Databases, index_all, write_profile

WINDOWS = {"6 hours": 6, "24 hours": 24, "72 hours": 72, "14 days": 14 * 24}


def grow(databases: Databases, as_of: str, runs: int) -> None:
    """Print a table without the declared indexes, then make them, and print it again."""
    with scratch() as snapshot:
        write_profile(snapshot, {"bench": databases.url})
        checked = ["check", "--project-dir", str(ROOT), "--profiles-dir", str(snapshot), "--json"]
        advice = json.loads(measured([AUDIENCES, *checked], ROOT).stdout)["checks"]
        statements = [
            line["mend"].partition(";")[0]
            for line in advice
            if line["warning"] and line["mend"].startswith("create index")
        ]
        for title in ("without", "with"):
            if title == "with":
                index_all(databases.url, statements)
            print(f"\nwindows, {title} the declared indexes: median of {runs}")
            print(f"{'':<12}{'activities':>11}{'rows out':>10}{'seconds':>9}{'us an activity':>16}")
            for name, hours in WINDOWS.items():
                window = ("--lookback-hours", str(hours), "--cooling-hours", "0")
                command = {name: run_on("bench", snapshot, as_of, *window)}
                taken = taking_turns(command, runs, snapshot)[name]
                document = json.loads(taken[0].stdout)
                activities = document["metadata"]["funnel"][0]["total"]
                seconds = median(seconds_of(taken))
                print(
                    f"{name:<12}{activities:>11,}{document['audienceSize']:>10,}{seconds:>9.2f}"
                    f"{seconds / activities * 1e6:>16.0f}"
                )
