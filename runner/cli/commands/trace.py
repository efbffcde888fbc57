"""`audiences trace`"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import (
    AsJson,
    AsOf,
    AudienceName,
    CoolingHours,
    LookbackHours,
    ProfilesDir,
    ProjectDir,
    TargetName,
    Unmask,
    Users,
    Var,
)
from runner.cli.request import Request
from runner.clock import instant

if TYPE_CHECKING:
    from runner.tools.trace.trace import Answer, OutsideAction, Reason, Step, Trace

EXAMPLE = "audiences trace layer3-behavior 1042 --as-of 2025-11-28T12:00:00Z"
WIDTH = 110
ROWS_SHOWN = 5
"""How many rows of each model are printed; --json prints all of them."""


@reported()
def command(
    audience: AudienceName,
    users: Users,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    unmask: Unmask = False,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> None:
    """Explain why users are in an audience or not: their rows at each step, and the deciding rule.

    Personal columns are masked.
    """
    from runner.tools.trace.trace import trace

    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    moment, parameters, project = request.moment, request.parameters, request.project
    project.audience(audience)
    with request.reach() as reached:
        answer = trace(project, audience, reached, users, parameters, moment, unmask=unmask)
    if as_json:
        print_json(answer.as_json())
    else:
        print_text(answer_text(answer, request.mark))


def answer_text(answer: Answer, mark: str) -> str:
    """All users: a summary, actions outside the window, then the rows of each model."""
    parameters = answer.compiled.parameters
    head = [f"{mark}{answer.compiled.audience.name} as of {instant(parameters.as_of)}"]
    if window := parameters.window:
        head.append(f"window   {instant(window.start)} up to {instant(window.end)}")
    blocks = ["\n".join(_trace_lines(answer, trace)) for trace in answer.traces]
    return "\n\n".join(["\n".join(head), *blocks])


def _trace_lines(answer: Answer, trace: Trace) -> Iterator[str]:
    yield trace.user
    yield from _wrapped(f"  {answer.summary(trace)}", "    ")
    for action in trace.outside[:ROWS_SHOWN]:
        yield from _wrapped(f"    {_outside_text(answer, action)}", "      ")
    if len(trace.outside) > ROWS_SHOWN:
        yield f"    and {len(trace.outside) - ROWS_SHOWN} more outside the window"
    shown: set[tuple[str, str]] = set()
    for step in trace.steps if trace.fate != "unknown" else ():
        yield from _step_lines(answer, trace, step, shown)


def _outside_text(answer: Answer, action: OutsideAction) -> str:
    what = answer.label(action.row) or "a row"
    as_of = answer.compiled.parameters.as_of
    is_past = action.until < as_of
    side, verb = ("too old", "counted") if is_past else ("too recent", "will count")
    span = f"after {instant(action.after)}, up to {instant(action.until)}"
    return f"{side}: {what}, which {verb} in runs {span}"


def _step_lines(
    answer: Answer, trace: Trace, step: Step, shown: set[tuple[str, str]]
) -> Iterator[str]:
    count = f"{len(step.rows)} row{'' if len(step.rows) == 1 else 's'}" if step.rows else "-"
    yield f"  {step.model:<30} {count}".rstrip()
    rows = () if step.is_staging else step.rows
    for row in rows[:ROWS_SHOWN]:
        what = answer.label(row) if step.left_out else ""
        chosen = f"chosen: {what}  " if what else ""
        yield from _wrapped(f"      {chosen}{_new_values(answer, row, shown)}", "        ")
    if len(rows) > ROWS_SHOWN:
        yield f"      and {len(rows) - ROWS_SHOWN} more"
    shown |= {(name, str(value)) for row in rows for name, value in row.items()}
    for row in step.left_out[:ROWS_SHOWN]:
        what = answer.label(row) or _values(row, answer)
        yield from _wrapped(f"      left out: {what}", "        ")
    if step.choice:
        yield from _wrapped(f"      because: {_reason(step.choice)}", "        ")
    for reason in trace.reasons:
        if reason.model == step.model:
            yield from _wrapped(f"      lost here: {_reason(reason)}", "        ")


def _reason(reason: Reason) -> str:
    return f"{reason.text} ({reason.where})"


def _new_values(answer: Answer, row: Mapping[str, Any], shown: set[tuple[str, str]]) -> str:
    """The values of a row that no earlier model has shown."""
    new = {name: value for name, value in row.items() if (name, str(value)) not in shown}
    return _values(new, answer)


def _values(row: Mapping[str, Any], answer: Answer) -> str:
    key = answer.compiled.audience.key
    return "  ".join(f"{name}={_cell(value)}" for name, value in row.items() if name != key)


def _cell(value: Any) -> str:
    """A value on one line, without control characters."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    from runner.tools.trace.trace import moment

    at = moment(text) if "T" in text else None
    if at:
        return instant(at.astimezone(UTC))
    return text if text.isprintable() and text else ascii(text)


def _wrapped(text: str, indent: str) -> list[str]:
    """The text in lines of at most WIDTH, broken at spaces."""
    first = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
