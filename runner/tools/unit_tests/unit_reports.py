"""What unit tests and the mutation check found, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from runner.tools.unit_tests.mutations import Mutant
from runner.tools.unit_tests.unit_tests import CaseResult


def case_lines(result: CaseResult) -> list[str]:
    """Where a case that does not pass is written, and what it made otherwise."""
    head = f"{result.status:5} {result.case.name}  {result.case.location}"
    told = [str(result.error)] if result.error else []
    told += (result.error.excerpt() or "").splitlines() if result.error else []
    told += result.differences.lines() if result.differences else []
    return [head, *(f"      {line}" for line in told)]


def unit_text(results: Sequence[CaseResult]) -> str:
    """Each case that does not pass, then the counts."""
    lines = [line for one in results if one.status != "pass" for line in case_lines(one)]
    counts = Counter(one.status for one in results)
    seconds = sum(one.milliseconds for one in results) / 1000
    others = [f", {counts[status]} {status}" for status in ("fail", "error") if counts[status]]
    lines.append(
        f"{counts['pass']} of {len(results)} cases pass{''.join(others)} ({seconds:.2f} s)"
    )
    return "\n".join(lines)


def unit_json(results: Sequence[CaseResult]) -> dict[str, Any]:
    counts = Counter(one.status for one in results)
    return {
        "success": counts["pass"] == len(results),
        "counts": {status: counts[status] for status in ("pass", "fail", "error")},
        "executionTimeMs": round(sum(one.milliseconds for one in results)),
        "cases": [one.as_json() for one in results],
    }


def has_gap(mutants: Sequence[Mutant]) -> bool:
    """Whether a change went unnoticed that no comment explains, or a comment explains nothing."""
    return any(one.outcome in ("unnoticed", "stale") for one in mutants)


def mutation_text(mutants: Sequence[Mutant]) -> str:
    """Each change that no case noticed: as a diff, or with its reason; then the counts."""
    lines: list[str] = []
    for one in mutants:
        change = "`{}` to `{}`".format(*one.change)
        if one.outcome == "unnoticed":
            lines.append(f"unnoticed  {one.place}  {change}")
            lines += [f"    {line}" for line in one.difference]
        elif one.outcome == "equivalent":
            lines.append(f"equivalent {one.place}  {change}: {one.told_by}")
        elif one.outcome == "stale":
            lines.append(f"stale      {one.place}  {change}: a case notices it, or it is not made")
    counts = _counts(mutants)
    lines.append(", ".join(f"{count} {name}" for name, count in counts.items()))
    return "\n".join(lines)


def mutation_json(mutants: Sequence[Mutant]) -> dict[str, Any]:
    return {
        "success": not has_gap(mutants),
        "counts": _counts(mutants),
        "mutations": [one.as_json() for one in mutants],
    }


def _counts(mutants: Sequence[Mutant]) -> dict[str, int]:
    counts = Counter(str(one.outcome) for one in mutants)
    made = {"made": len(mutants) - counts["stale"]}
    outcomes = ("noticed", "refused", "equivalent", "unnoticed", "stale")
    return made | {name: counts[name] for name in outcomes}
