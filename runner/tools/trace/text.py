"""Traces as text and as data: the verdict first, then the way step by step."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from runner.clock import instant
from runner.project.audience import Audience
from runner.tools.trace.evidence import Row
from runner.tools.trace.trace import Answer, OutsideAction, Reason, Step, Trace, moment

WIDTH = 110
ROWS_SHOWN = 5
"""Of a step, as text; data has them all."""


def answer_text(answer: Answer, *, is_demo: bool) -> str:
    """All users: the verdict, what would change it, then each step's rows."""
    parameters = answer.compiled.parameters
    mark = "DEMO data, not your users. " if is_demo else ""
    head = [f"{mark}{answer.compiled.audience.name} as of {instant(parameters.as_of)}"]
    if window := parameters.window:
        head.append(f"window   {instant(window.start)} up to {instant(window.end)}")
    blocks = ["\n".join(_trace_lines(answer, one)) for one in answer.traces]
    return "\n\n".join(["\n".join(head), *blocks])


def answer_json(answer: Answer) -> dict[str, Any]:
    """The same as data, every row whole."""
    parameters = answer.compiled.parameters
    window = parameters.window
    return {
        "audience": answer.compiled.audience.name,
        "asOf": instant(parameters.as_of),
        "window": window and {"start": instant(window.start), "end": instant(window.end)},
        "parameters": {
            name: value if isinstance(value, bool | int | str) else float(value)
            for name, value in parameters.values.items()
        },
        "key": answer.compiled.audience.key,
        "users": [_trace_json(answer.compiled.audience, one) for one in answer.traces],
    }


def verdict(audience: Audience, trace: Trace) -> str:
    """What became of a user, in one sentence with the place of the rule."""
    if trace.fate == "unknown":
        source = audience.trace.key_source
        place = f"{source.source}.{source.table}" if source else "the database"
        return f"unknown: {place} has no such {source.column if source else audience.key}"
    if trace.fate == "exported":
        types = (f"exported as {one.audience_type} to {one.file}" for one in trace.exports)
        return " and ".join(types) + _outranked(audience, trace)
    return "not exported: " + "; ".join(f"{one.text} ({one.where})" for one in trace.reasons)


def _outranked(audience: Audience, trace: Trace) -> str:
    """What else the user did, and the rule by which it was left out."""
    told = []
    for step in trace.steps:
        if step.left_out and step.choice:
            rows = ", ".join(_label(audience, row) or "a row" for row in step.left_out[:ROWS_SHOWN])
            more = len(step.left_out) - ROWS_SHOWN
            rows += f" and {more} more" if more > 0 else ""
            told.append(f"; left out: {rows}: {step.choice.text} ({step.choice.where})")
    return "".join(told)


def _label(audience: Audience, row: Row) -> str:
    """A row in few words: its kind, as the funnel counts kinds, and its time."""
    kinds = [str(row[step.by]) for step in audience.funnel if step.by in row]
    at = moment(row.get(audience.trace.time or ""))
    times = [f"of {instant(at)}"] if at else []
    return " ".join([*kinds[:1], *times])


# Text


def _trace_lines(answer: Answer, trace: Trace) -> Iterator[str]:
    audience = answer.compiled.audience
    yield trace.user
    yield from _wrapped(f"  {verdict(audience, trace)}", "    ")
    for action in trace.outside[:ROWS_SHOWN]:
        yield from _wrapped(f"    {_outside_text(answer, action)}", "      ")
    if len(trace.outside) > ROWS_SHOWN:
        yield f"    and {len(trace.outside) - ROWS_SHOWN} more outside the window"
    shown: set[tuple[str, str]] = set()
    for step in trace.steps if trace.fate != "unknown" else ():
        yield from _step_lines(answer, trace, step, shown)


def _outside_text(answer: Answer, action: OutsideAction) -> str:
    label = _label(answer.compiled.audience, action.row) or "a row"
    as_of = answer.compiled.parameters.as_of
    is_past = action.until < as_of
    side, verb = ("too old", "counted") if is_past else ("too recent", "will count")
    span = f"after {instant(action.after)}, up to {instant(action.until)}"
    return f"{side}: {label}, which {verb} in runs {span}"


def _step_lines(
    answer: Answer, trace: Trace, step: Step, shown: set[tuple[str, str]]
) -> Iterator[str]:
    count = f"{len(step.rows)} row{'' if len(step.rows) == 1 else 's'}" if step.rows else "-"
    yield f"  {step.model:<30} {count}".rstrip()
    rows = () if step.is_supply else step.rows
    for row in rows[:ROWS_SHOWN]:
        label = _label(answer.compiled.audience, row) if step.left_out else ""
        chosen = f"chosen: {label}  " if label else ""
        yield from _wrapped(f"      {chosen}{_new_values(answer, row, shown)}", "        ")
    if len(rows) > ROWS_SHOWN:
        yield f"      and {len(rows) - ROWS_SHOWN} more"
    shown |= {(name, str(value)) for row in rows for name, value in row.items()}
    for row in step.left_out[:ROWS_SHOWN]:
        what = _label(answer.compiled.audience, row) or _values(row, answer)
        yield from _wrapped(f"      left out: {what}", "        ")
    if step.choice:
        yield from _wrapped(f"      because: {_reason(step.choice)}", "        ")
    for reason in trace.reasons:
        if reason.model == step.model:
            yield from _wrapped(f"      lost here: {_reason(reason)}", "        ")


def _reason(reason: Reason) -> str:
    return f"{reason.text} ({reason.where})"


def _new_values(answer: Answer, row: Row, shown: set[tuple[str, str]]) -> str:
    """A row's values that no earlier step has shown."""
    new = {name: value for name, value in row.items() if (name, str(value)) not in shown}
    return _values(new, answer)


def _values(row: Row, answer: Answer) -> str:
    key = answer.compiled.audience.key
    return "  ".join(f"{name}={_cell(value)}" for name, value in row.items() if name != key)


def _cell(value: Any) -> str:
    """A value on one line, without what a terminal would obey."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    at = moment(text) if "T" in text else None
    if at:
        return instant(at.astimezone(UTC))
    return text if text.isprintable() and text else ascii(text)


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most WIDTH where there is a space to break at."""
    first = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


# Data


def _trace_json(audience: Audience, trace: Trace) -> dict[str, Any]:
    return {
        "user": trace.user,
        "fate": trace.fate,
        "verdict": verdict(audience, trace),
        "exports": [{"audienceType": one.audience_type, "file": one.file} for one in trace.exports],
        "reasons": [_reason_json(one) for one in trace.reasons],
        "outside": [_outside_json(one) for one in trace.outside],
        "steps": [_step_json(one, trace.reasons) for one in trace.steps],
    }


def _reason_json(reason: Reason) -> dict[str, Any]:
    where = reason.where
    place = {"file": where.path.as_posix(), "line": where.line, "column": where.column}
    return {"model": reason.model, "text": reason.text, **place}


def _outside_json(action: OutsideAction) -> dict[str, Any]:
    after, until = instant(action.after), instant(action.until)
    return {"at": instant(action.at), "countsAfter": after, "countsUpTo": until, "row": action.row}


def _step_json(step: Step, reasons: Iterable[Reason]) -> dict[str, Any]:
    return {
        "model": step.model,
        "file": step.where.path.as_posix(),
        "isIn": bool(step.rows),
        "isWhereLost": any(reason.model == step.model for reason in reasons),
        "rows": step.rows,
        "leftOut": step.left_out,
        "because": _reason_json(step.choice) if step.choice else None,
    }
