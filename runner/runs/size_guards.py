"""Size guards: a file whose size jumps is not published, unless somebody gives a reason.

The history is the manifests in the output folder; no table is needed. The old engine's runs are
neither guarded nor a measure: it decides itself what it writes. A run whose size was
accepted begins it anew: the runs before it are no measure any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from statistics import median

from runner.errors import AudienceError, Location
from runner.files.document import RunIdentity, SizeGuardResult
from runner.files.manifest import PastRun
from runner.project.audience import Output, SizeGuard


class SizeGuardError(AudienceError):
    """A file has more or fewer rows than its size guard lets through. It is not published."""


def check_size(
    output: Output, rows: int, identity: RunIdentity, history: Iterable[PastRun]
) -> SizeGuardResult:
    """Compare a file's rows with its guard and past runs, newest first. No more of them are read
    than the guard asks for."""
    guard = output.size_guard
    past: tuple[int, ...] = ()
    reason, verdict = None, "off"
    if not isinstance(guard, bool):
        past = tuple(islice(_sizes(output, identity, history), guard.runs))
        reason, verdict = what_is_wrong(guard, rows, past), "pass"
    if reason is not None:
        verdict = "stop" if identity.accepted_size is None else "accepted"
    return SizeGuardResult(
        audience_type=output.audience_type,
        rows=rows,
        median=median(past) if past else None,
        runs=len(past),
        verdict=verdict,
        reason=reason,
    )


def what_is_wrong(guard: SizeGuard, rows: int, past: tuple[int, ...]) -> str | None:
    """Why a guard stops a file of `rows` rows, None if it does not."""
    if rows < guard.minimum_rows:
        return f"{rows:,} rows are fewer than minimum_rows, {guard.minimum_rows:,}"
    if guard.maximum_rows is not None and rows > guard.maximum_rows:
        return f"{rows:,} rows are more than maximum_rows, {guard.maximum_rows:,}"
    if guard.change_percent is None or not past:
        return None
    usual = median(past)
    allowed = max(usual * guard.change_percent / 100, guard.slack_rows)
    if abs(rows - usual) <= allowed:
        return None
    times = f" ({rows / usual:.2f} times)" if usual else ""
    return (
        f"{rows:,} rows against a median of {usual:,g}{times} in the last {len(past)} published "
        f"runs with these parameters; {max(0, usual - allowed):,.0f} to {usual + allowed:,.0f} "
        f"are let through"
    )


def raise_if_held(found: SizeGuardResult, where: Location) -> None:
    """Raises `SizeGuardError` if the guard stops the file."""
    if found.verdict == "stop":
        raise SizeGuardError(
            f"size guard of {found.audience_type}: {found.reason}",
            where=where,
            fix='if this size is right, publish it once with --accept-size "reason"; size_guard: '
            "of the output sets the bounds",
        )


def _sizes(output: Output, identity: RunIdentity, history: Iterable[PastRun]) -> Iterator[int]:
    for run in history:
        rows = run.metadata.rows_by_type.get(output.audience_type)
        if rows is not None and _is_comparable(run, identity):
            yield rows
            if run.metadata.accepted_size is not None:
                return


def _is_comparable(run: PastRun, identity: RunIdentity) -> bool:
    return (
        run.is_published
        and run.metadata.engine == identity.engine
        and run.metadata.target == identity.target
        and run.metadata.parameters == identity.parameters
    )
