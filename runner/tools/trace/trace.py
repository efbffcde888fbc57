"""Follows one user through an audience's models, and finds the step that decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from runner.clock import instant
from runner.database.snapshot import open_snapshot
from runner.errors import Location, UsageError
from runner.project.audience import Output
from runner.project.nodes import Project
from runner.project.targets import Target
from runner.sql.compile import CompiledAudience, compile_audience
from runner.sql.personal import MASKED, is_personal
from runner.tools.trace import evidence as rules
from runner.tools.trace.evidence import ClosedGate, Row, Sightings, closed_gates, look

Fate = Literal["exported", "withheld", "left out", "unknown"]

ROWS_NAMED = 5
"""Of the rows that a step left out, in a verdict."""


@dataclass(frozen=True)
class Reason:
    """Why a user or row is left out: the model with the rule, the rule's line, and a sentence."""

    model: str
    text: str
    where: Location

    def as_json(self) -> dict[str, Any]:
        path, line, column = self.where.path, self.where.line, self.where.column
        place = {"file": path.as_posix(), "line": line, "column": column}
        return {"model": self.model, "text": self.text, **place}


@dataclass(frozen=True)
class Step:
    """A model with the key: the user's rows in it, and those it was offered but did not take.

    `is_supply` models only read sources; they neither start nor end the way of a user.
    """

    model: str
    where: Location
    rows: list[Row]
    left_out: list[Row]
    choice: Reason | None
    is_supply: bool

    def as_json(self, reasons: Iterable[Reason]) -> dict[str, Any]:
        """`reasons` are those of the whole trace: the user was lost at the models they name."""
        return {
            "model": self.model,
            "file": self.where.path.as_posix(),
            "isIn": bool(self.rows),
            "isWhereLost": any(reason.model == self.model for reason in reasons),
            "rows": self.rows,
            "leftOut": self.left_out,
            "because": self.choice.as_json() if self.choice else None,
        }


@dataclass(frozen=True)
class OutsideAction:
    """A row outside the window: runs with an as-of time after `after`, up to `until`, count it."""

    row: Row
    at: datetime
    after: datetime
    until: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "at": instant(self.at),
            "countsAfter": instant(self.after),
            "countsUpTo": instant(self.until),
            "row": self.row,
        }


@dataclass(frozen=True)
class Trace:
    """One user's way. `exports` are the files that have them, `reasons` why none has, or why none
    of these is published."""

    user: str
    fate: Fate
    exports: list[Output]
    reasons: list[Reason]
    steps: list[Step]
    outside: list[OutsideAction]

    def as_json(self) -> dict[str, Any]:
        return {
            "exports": [
                {"audienceType": output.audience_type, "file": output.file}
                for output in self.exports
            ],
            "reasons": [reason.as_json() for reason in self.reasons],
            "outside": [action.as_json() for action in self.outside],
            "steps": [step.as_json(self.reasons) for step in self.steps],
        }


@dataclass(frozen=True)
class Answer:
    """The users' ways, in the order they were asked for, each once."""

    compiled: CompiledAudience
    traces: list[Trace]

    def as_json(self) -> dict[str, Any]:
        """Everything, each row whole."""
        parameters = self.compiled.parameters
        window = parameters.window
        return {
            "audience": self.compiled.audience.name,
            "asOf": instant(parameters.as_of),
            "window": window and {"start": instant(window.start), "end": instant(window.end)},
            "parameters": {
                name: value if isinstance(value, bool | int | str) else float(value)
                for name, value in parameters.values.items()
            },
            "key": self.compiled.audience.key,
            "users": [
                {"user": trace.user, "fate": trace.fate, "verdict": self.verdict(trace)}
                | trace.as_json()
                for trace in self.traces
            ],
        }

    def verdict(self, trace: Trace) -> str:
        """What became of a user, in one sentence with the place of the rule."""
        audience = self.compiled.audience
        if trace.fate == "unknown":
            source = audience.trace.key_source
            place = f"{source.source}.{source.table}" if source else "the database"
            return f"unknown: {place} has no such {source.column if source else audience.key}"
        if trace.fate == "exported":
            types = (f"exported as {one.audience_type} to {one.file}" for one in trace.exports)
            return " and ".join(types) + self._outranked(trace)
        return "not exported: " + "; ".join(f"{one.text} ({one.where})" for one in trace.reasons)

    def _outranked(self, trace: Trace) -> str:
        """What else the user did, and the rule by which it was left out."""
        parts = []
        for step in trace.steps:
            if step.left_out and step.choice:
                named = [self.label(row) or "a row" for row in step.left_out[:ROWS_NAMED]]
                more = len(step.left_out) - ROWS_NAMED
                rows = ", ".join(named) + (f" and {more} more" if more > 0 else "")
                parts.append(f"; left out: {rows}: {step.choice.text} ({step.choice.where})")
        return "".join(parts)

    def label(self, row: Row) -> str:
        """A row in few words: its kind, as the funnel counts kinds, and its time."""
        audience = self.compiled.audience
        kinds = [str(row[step.by]) for step in audience.funnel if step.by in row]
        at = moment(row.get(audience.trace.time or ""))
        times = [f"of {instant(at)}"] if at else []
        return " ".join([*kinds[:1], *times])


def moment(value: object) -> datetime | None:
    """An instant as PostgreSQL writes it in JSON; one without offset is taken for UTC."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def trace(
    project: Project,
    audience: str,
    target: Target,
    users: Sequence[str],
    given: Mapping[str, str],
    as_of: datetime,
    *,
    unmask: bool = False,
) -> Answer:
    """Follow users through an audience's models, made as a run makes them, in one snapshot.

    Raises `UsageError` for keys that cannot be, `ProjectError` for models or rules that are wrong,
    `DatabaseError` if the server cannot be reached or refuses a model. Nothing is written.
    """
    compiled = compile_audience(project, audience, given, as_of)
    for user in users:
        if not user.strip() or not user.isprintable():
            raise UsageError(
                f"the user {user!r} is empty or not printable", fix="give the key of a user"
            )
    if not users:
        raise UsageError("no user is given", fix="give one key or more")
    with open_snapshot(compiled, target) as snapshot:
        tracer = _Tracer(look(snapshot, users), given, unmask=unmask)
        return Answer(snapshot.compiled, [tracer.trace(key) for key in tracer.sightings.keys])


class _Tracer:
    """What the traces of one answer share: sightings, and what was looked up on the way."""

    def __init__(self, sightings: Sightings, given: Mapping[str, str], *, unmask: bool) -> None:
        self.sightings = sightings
        self.compiled = sightings.compiled
        self.audience = sightings.compiled.audience
        activity = self.audience.activity_model
        self._above = self.compiled.graph.upstream(activity) - {activity}
        self._given = given
        self._unmask = unmask
        self._known = sightings.known()
        self._needs: dict[tuple[str, str], bool] = {}
        self._outside: dict[str, list[Row]] | None = None
        self._gates: list[ClosedGate] | None = None

    def trace(self, key: str) -> Trace:
        exports = [one for one in self.audience.outputs if self._rows(one.model, key)]
        steps = [self._step(model, key) for model in self.sightings.rows]
        is_known = self._known is None or key in self._known
        if exports:
            closed = _distinct(one for output in exports for one in self._closed(output, key))
            fate: Fate = "withheld" if closed else "exported"
            return Trace(key, fate, exports, closed, steps, [])
        if not is_known and not any(step.rows for step in steps):
            return Trace(key, "unknown", [], [], steps, [])
        lost_at = self._lost_at(key)
        reasons = _distinct(one for model in lost_at for one in self._reasons(model, key))
        outside = self._actions_outside(key) if self.audience.activity_model in lost_at else []
        return Trace(key, "left out", [], reasons, steps, outside)

    def _rows(self, model: str, key: str) -> list[Row]:
        return self.sightings.rows[model][key] if model in self.sightings.rows else []

    # The steps

    def _step(self, model: str, key: str) -> Step:
        refs = [ref for ref in self.sightings.refs(model) if ref not in self._above]
        left_out = [row for ref in refs for row in self._not_taken(model, ref, key)]
        choice = self._choice(model) if left_out else None
        where = self.compiled.project.models[model].location
        rows = [self._shown(model, row) for row in self._rows(model, key)]
        ends = {self.audience.activity_model, *(one.model for one in self.audience.outputs)}
        is_supply = model not in ends and not self.compiled.graph.models[model].refs
        return Step(model, where, rows, left_out, choice, is_supply)

    def _not_taken(self, model: str, ref: str, key: str) -> list[Row]:
        """The rows of `ref` that a model left out while it took others, by their common columns."""
        taken, offered = self._rows(model, key), self._rows(ref, key)
        if not taken or len(offered) < 2:
            return []
        common = [name for name in offered[0] if name in taken[0]]
        values = [[row[name] for name in common] for row in taken]
        missed = [row for row in offered if [row[name] for name in common] not in values]
        return [self._shown(ref, row) for row in missed] if len(missed) < len(offered) else []

    def _choice(self, model: str) -> Reason:
        where = rules.choice_line(self.compiled, model)
        text = rules.sentence(self.compiled, model) or f"{model} does not take them"
        return Reason(model, text, where)

    def _shown(self, model: str, row: Row) -> Row:
        """The row without what is personal; what is missing or blank still shows as that. The key
        stays: whoever asks has it."""
        hidden = set()
        if not self._unmask:
            hidden = {one for one in row if is_personal(self.compiled, model, one)}
        return {
            name: MASKED
            if name in hidden - {self.audience.key} and str(value or "").strip()
            else value
            for name, value in row.items()
        }

    # Why a file with the user is not published

    def _closed(self, output: Output, key: str) -> Iterator[Reason]:
        """The data tests that keep a file from being published, the user's own rows named."""
        if self._gates is None:
            self._gates = closed_gates(self.sightings)
        for gate in self._gates:
            if output.audience_type in gate.result.audience_types:
                whose = ", theirs among them" if key in gate.keys else ""
                text = (
                    f"failed data test {gate.result.name}: {gate.result.in_words}{whose}, so "
                    f"{output.audience_type} is not published"
                )
                yield Reason(gate.result.reads[0], text, gate.result.location)

    # Where and why a user was lost

    def _lost_at(self, key: str) -> list[str]:
        """For each output the first model on the way to it that the user is not in."""
        dropped = self._dropping_model(key)
        if dropped is not None:
            return [dropped]
        outputs = self.audience.outputs
        found = (one for output in outputs for one in self._lost_before(output.model, key))
        return list(dict.fromkeys(found))

    def _dropping_model(self, key: str) -> str | None:
        """The model that reads the key's source, if the user is there and not in the model, and
        nobody is in the activity model without it."""
        source = self.audience.trace.key_source
        if source is None or key not in (self._known or ()):
            return None
        relation = self.compiled.project.sources[(source.source, source.table)].relation
        activity = self.audience.activity_model
        without = (
            model
            for model in self.sightings.rows
            if model in self._above | {activity}
            and relation in self.compiled.graph.models[model].sql.text
            and not self._rows(model, key)
        )
        return next(
            (one for one in without if one == activity or self._is_needed(activity, one)), None
        )

    def _lost_before(self, model: str, key: str) -> list[str]:
        """The first models without the user on the way to one that is without them.

        Nothing above the activity model: what feeds it may all be without the user. Where some of
        what a model reads has the user, the rest is to blame only if the model needs it.
        """
        refs = [ref for ref in self.sightings.refs(model) if ref not in self._above]
        missing = [
            ref
            for ref in refs
            if not self._rows(ref, key) and not rules.may_miss(self.compiled, model, ref)
        ]
        if any(self._rows(ref, key) for ref in refs):
            missing = [ref for ref in missing if self._is_needed(model, ref)]
        found = [one for ref in missing for one in self._lost_before(ref, key)]
        return list(dict.fromkeys(found)) or [model]

    def _is_needed(self, model: str, ref: str) -> bool:
        if (model, ref) not in self._needs:
            self._needs[model, ref] = self.sightings.needs(model, ref)
        return self._needs[model, ref]

    def _reasons(self, model: str, key: str) -> list[Reason]:
        """Rule columns that are not true on all the rows a model was offered, else its own rule."""
        for ref in self.sightings.refs(model):
            rows = self._rows(ref, key)
            broken = [self._broken_rules(ref, row) for row in rows]
            if rows and all(broken):
                names = dict.fromkeys(name for row in broken for name in row)
                return _distinct(one for name in names for one in self._told(ref, name, key))
        text = rules.sentence(self.compiled, model)
        clause = f"{model} has no row of theirs: {rules.filter_clause(self.compiled, model)}"
        is_activity = model == self.audience.activity_model
        place = rules.window_line if is_activity else rules.filter_line
        return [Reason(model, text or clause, place(self.compiled, model))]

    def _broken_rules(self, model: str, row: Row) -> list[str]:
        return [
            name
            for name, value in row.items()
            if (value is False or value is None) and rules.is_rule(self.compiled, model, name)
        ]

    def _told(self, model: str, column: str, key: str) -> list[Reason]:
        """Why a rule column is not true for the user's rows, by the first model that has it."""
        upstream = self.compiled.graph.upstream(model)
        having = [one for one in self.sightings.rows if one in upstream]
        having = [one for one in having if any(column in row for row in self._rows(one, key))]
        origin = having[0]
        where = rules.column_line(self.compiled, origin, column)
        reasons = []
        for teller in having:
            for row in self._rows(teller, key):
                shown = self._shown(teller, row)
                sentence = rules.sentence(self.compiled, teller, column, shown)
                if sentence is not None and row[column] is not True:
                    reasons.append(Reason(origin, sentence, where))
            if reasons:
                break
        return reasons or [Reason(origin, f"{column} is not true", where)]

    # What is outside the window

    def _actions_outside(self, key: str) -> list[OutsideAction]:
        """The user's rows outside the window, nearest first."""
        window, time = self.compiled.parameters.window, self.audience.trace.time
        if window is None or time is None:
            return []
        if self._outside is None:
            self._outside = self.sightings.outside(self._given)
        model, as_of = self.audience.activity_model, self.compiled.parameters.as_of
        actions = []
        for row in self._outside[key]:
            at = moment(row.get(time))
            if at is not None and not window.start <= at < window.end:
                after, until = at + (as_of - window.end), at + (as_of - window.start)
                actions.append(OutsideAction(self._shown(model, row), at, after, until))
        return sorted(actions, key=lambda one: max(window.start - one.at, one.at - window.end))


def _distinct(reasons: Iterable[Reason]) -> list[Reason]:
    return list(dict.fromkeys(reasons))
