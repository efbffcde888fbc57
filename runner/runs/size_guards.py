"""Size guards: a file whose size jumps is not published, unless somebody says why it may be.

The history is the manifests in the output folder; no table is needed. The old engine's runs are
neither guarded nor a measure: it decides itself what it writes. A run whose size was
accepted begins it anew: the runs before it are no measure any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Literal

from runner.errors import AudienceError, Location
from runner.files.document import RunIdentity
from runner.files.history import PastRun
from runner.project.audience import Output, SizeGuard

Verdict = Literal["pass", "stop", "accepted", "off"]


class SizeGuardError(AudienceError):
    """A file has more or fewer rows than its size guard lets through. It is not published."""


@dataclass(frozen=True)
class Judgement:
    """What a size guard says of one file. `reason` is why it stops it, in numbers; `past` are the
    rows of the published runs that it looked at, newest first."""

    audience_type: str
    rows: int
    past: tuple[int, ...]
    verdict: Verdict
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "audienceType": self.audience_type,
            "rowCount": self.rows,
            "median": median(self.past) if self.past else None,
            "runs": len(self.past),
            "verdict": self.verdict,
            "reason": self.reason,
        }


def judge(
    output: Output, rows: int, identity: RunIdentity, history: Iterable[PastRun]
) -> Judgement:
    """Hold a file's rows against its guard and past runs, newest first. No more of them are read
    than the guard asks for."""
    guard = output.size_guard
    if isinstance(guard, bool):
        return Judgement(output.audience_type, rows, (), "off")
    past = tuple(islice(_sizes(output, identity, history), guard.runs))
    reason = what_is_wrong(guard, rows, past)
    if reason is None:
        return Judgement(output.audience_type, rows, past, "pass")
    verdict: Verdict = "stop" if identity.accepted_size is None else "accepted"
    return Judgement(output.audience_type, rows, past, verdict, reason)


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


def refuse(judgement: Judgement, where: Location) -> None:
    """Raises `SizeGuardError` if the guard stops the file."""
    if judgement.verdict == "stop":
        raise SizeGuardError(
            f"size guard of {judgement.audience_type}: {judgement.reason}",
            where=where,
            mend='if that is right, say so once with --accept-size "why"; size_guard: of the '
            "output sets the bounds",
        )


def _sizes(output: Output, identity: RunIdentity, history: Iterable[PastRun]) -> Iterator[int]:
    for run in history:
        if _is_comparable(run, identity) and output.audience_type in run.rows_by_type:
            yield run.rows_by_type[output.audience_type]
            if run.accepted_size is not None:
                return


def _is_comparable(run: PastRun, identity: RunIdentity) -> bool:
    return (
        run.is_published
        and run.engine == identity.engine
        and run.target == identity.target
        and run.parameters == identity.parameters_json
    )
