"""What folders of runs hold, as text and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.cli.display import table
from runner.clock import instant
from runner.files.clean import Removed
from runner.files.history import History, PastRun
from runner.files.verify import Finding

LONGEST_ERROR = 100


def history_table(history: History) -> str:
    """One line a run, newest first, then the manifests that cannot be read."""
    head = ("started", "audience", "status", "rows", "by type", "seconds", "target", "error")
    lines = list(table(head, map(_run, history.runs))) if history.runs else ["no runs yet"]
    lines += [f"broken   {problem}" for problem in history.broken]
    return "\n".join(lines)


def _run(run: PastRun) -> tuple[str, ...]:
    milliseconds = run.execution_time_ms
    error = " ".join((run.error or "").split())
    return (
        instant(run.started_at.replace(microsecond=0)),
        run.audience,
        run.status,
        f"{run.audience_size:,}",
        ", ".join(f"{name} {rows:,}" for name, rows in run.rows_by_type.items()),
        "" if milliseconds is None else f"{milliseconds / 1000:.2f}",
        run.target,
        error if len(error) <= LONGEST_ERROR else f"{error[:LONGEST_ERROR]} ...",
    )


def findings_list(findings: list[Finding]) -> str:
    """What differs, and how much was looked at."""
    return "\n".join(_findings(findings))


def _findings(findings: list[Finding]) -> Iterator[str]:
    wrong = [finding for finding in findings if finding.problem]
    for finding in wrong:
        yield f"wrong {finding.name}: {finding.problem}"
    csv_files = sum(finding.name.endswith(".csv") for finding in findings)
    others = len(findings) - csv_files
    outcome = f"{len(wrong)} wrong" if wrong else "all right"
    yield f"{outcome}: {csv_files} CSV files, {others} manifests and pointers"


def findings_json(findings: list[Finding]) -> dict[str, Any]:
    """The same with check's names."""
    wrong = [finding for finding in findings if finding.problem]
    return {
        "valid": not wrong,
        "errors": [f"{one.name}: {one.problem}" for one in wrong],
        "checks": [
            {"name": one.name, "ok": one.problem is None, "detail": one.problem or ""}
            for one in findings
        ],
    }


def removed_list(removed: list[Removed], *, is_dry_run: bool) -> str:
    verb = "would be removed" if is_dry_run else "removed"
    lines = [f"{verb} {name}" for one in removed for name in one.names]
    files = sum(len(one.names) for one in removed)
    return "\n".join([*lines, f"{verb}: {files} files, runs: {len(removed)}"])


def removed_json(removed: list[Removed], *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": is_dry_run,
        "runs": [
            {"audience": one.audience, "timestamp": one.timestamp, "files": list(one.names)}
            for one in removed
        ],
    }
