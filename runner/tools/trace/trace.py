"""Follows users through an audience's models, and finds the model and line that decided."""

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
from runner.tools.trace import rules
from runner.tools.trace.user_rows import FailedTest, Row, UserRows, failed_tests, find_users

Fate = Literal["exported", "withheld", "left out", "unknown"]

ROWS_NAMED = 5
"""How many of the rows that a model left out are named in a summary."""


@dataclass(frozen=True)
class Reason:
    """Why a user or a row is left out: the model with the rule, a sentence, and the rule's line."""

    model: str
    text: str
    where: Location

    def as_json(self) -> dict[str, Any]:
        path, line, column = self.where.path, self.where.line, self.where.column
        place = {"file": path.as_posix(), "line": line, "column": column}
        return {"model": self.model, "text": self.text, **place}


@dataclass(frozen=True)
class Step:
    """A model with the key: the user's rows in it, and rows of the models it reads that it left
    out, with the reason in `choice`. `is_staging` models read nothing but source tables.
    """

    model: str
    where: Location
    rows: list[Row]
    left_out: list[Row]
    choice: Reason | None
    is_staging: bool

    def as_json(self, reasons: Iterable[Reason]) -> dict[str, Any]:
        """`reasons` are those of the whole trace: they name the models where the user was lost."""
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
    """What happened to one user. `exports` are the files with the user; `reasons` say why no file
    has the user, or why the file is not published."""

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
    """The traces of all users, in the order in which they were given, each once."""

    compiled: CompiledAudience
    traces: list[Trace]

    def as_json(self) -> dict[str, Any]:
        """The whole answer, with all columns of each row."""
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
                {"user": trace.user, "fate": trace.fate, "verdict": self.summary(trace)}
                | trace.as_json()
                for trace in self.traces
            ],
        }

    def summary(self, trace: Trace) -> str:
        """What happened to a user: a sentence with the rule's file and line."""
        audience = self.compiled.audience
        if trace.fate == "unknown":
            source = audience.trace.key_source
            place = f"{source.source}.{source.table}" if source else "the database"
            return f"unknown: {place} has no such {source.column if source else audience.key}"
        if trace.fate == "exported":
            files = (
                f"exported as {output.audience_type} to {output.file}" for output in trace.exports
            )
            return " and ".join(files) + self._left_out(trace)
        reasons = (f"{reason.text} ({reason.where})" for reason in trace.reasons)
        return f"not exported: {'; '.join(reasons)}"

    def _left_out(self, trace: Trace) -> str:
        """Which other rows of an exported user were left out, and by which rule."""
        parts = []
        for step in trace.steps:
            if step.left_out and step.choice:
                named = [self.label(row) or "a row" for row in step.left_out[:ROWS_NAMED]]
                more = len(step.left_out) - ROWS_NAMED
                rows = ", ".join(named) + (f" and {more} more" if more > 0 else "")
                parts.append(f"; left out: {rows}: {step.choice.text} ({step.choice.where})")
        return "".join(parts)

    def label(self, row: Row) -> str:
        """A short name of a row: its kind, as the funnel counts kinds, and its time."""
        audience = self.compiled.audience
        kinds = [str(row[step.by]) for step in audience.funnel if step.by in row]
        at = moment(row.get(audience.trace.time or ""))
        times = [f"of {instant(at)}"] if at else []
        return " ".join([*kinds[:1], *times])


def moment(value: object) -> datetime | None:
    """An instant in PostgreSQL's JSON, in UTC if it has no offset; None if it is not an instant."""
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

    Nothing is written. Raises `UsageError` for a user that is not a value of the key's type,
    `ProjectError` for wrong models or rules, `DatabaseError` if the server cannot be reached or
    cannot run a model.
    """
    compiled = compile_audience(project, audience, given, as_of)
    for user in users:
        if not user.strip() or not user.isprintable():
            raise UsageError(
                f"the user {user!r} is empty or not printable", fix="give the key of a user"
            )
    if not users:
        raise UsageError("no user is given", fix="give at least one key")
    with open_snapshot(compiled, target) as snapshot:
        user_rows = find_users(snapshot, users)
        tracer = _Tracer(user_rows, given, unmask=unmask)
        return Answer(snapshot.compiled, [tracer.trace(key) for key in user_rows.keys])


class _Tracer:
    """Makes the traces of an answer. Results of queries are kept for the other users."""

    def __init__(self, user_rows: UserRows, given: Mapping[str, str], *, unmask: bool) -> None:
        self.user_rows = user_rows
        self.compiled = user_rows.compiled
        self.audience = user_rows.compiled.audience
        activity = self.audience.activity_model
        self._activity = activity if activity in user_rows.rows else None
        """The activity model, if it says whose its rows are."""
        self._upstream: frozenset[str] = frozenset()
        if self._activity:
            self._upstream = self.compiled.graph.upstream(self._activity) - {self._activity}
        self._given = given
        self._unmask = unmask
        self._known_keys = user_rows.known_keys()
        self._needs: dict[tuple[str, str], bool] = {}
        self._outside: dict[str, list[Row]] | None = None
        self._failed_tests: list[FailedTest] | None = None

    def trace(self, key: str) -> Trace:
        exports = [output for output in self.audience.outputs if self._rows(output.model, key)]
        steps = [self._step(model, key) for model in self.user_rows.rows]
        is_known = self._known_keys is None or key in self._known_keys
        if exports:
            unpublished = _distinct(
                reason for output in exports for reason in self._why_unpublished(output, key)
            )
            fate: Fate = "withheld" if unpublished else "exported"
            return Trace(key, fate, exports, unpublished, steps, [])
        if not is_known and not any(step.rows for step in steps):
            return Trace(key, "unknown", [], [], steps, [])
        lost_at = self._lost_at(key)
        reasons = _distinct(reason for model in lost_at for reason in self._reasons(model, key))
        is_inactive = any(model in {self._activity, *self._upstream} for model in lost_at)
        outside = self._actions_outside(key) if is_inactive else []
        return Trace(key, "left out", [], reasons, steps, outside)

    def _rows(self, model: str, key: str) -> list[Row]:
        return self.user_rows.rows[model][key] if model in self.user_rows.rows else []

    # The steps

    def _step(self, model: str, key: str) -> Step:
        refs = [ref for ref in self.user_rows.refs(model) if ref not in self._upstream]
        left_out = [row for ref in refs for row in self._rows_left_out(model, ref, key)]
        choice = self._choice(model) if left_out else None
        where = self.compiled.project.models[model].location
        rows = [self._shown(model, row) for row in self._rows(model, key)]
        outputs = {output.model for output in self.audience.outputs}
        is_staging = (
            model not in outputs | {self._activity} and not self.compiled.graph.models[model].refs
        )
        return Step(model, where, rows, left_out, choice, is_staging)

    def _rows_left_out(self, model: str, ref: str, key: str) -> list[Row]:
        """The user's rows of `ref` that the model left out while it kept others. They are compared
        by the columns that both models have."""
        kept, read = self._rows(model, key), self._rows(ref, key)
        if not kept or len(read) < 2:
            return []
        common = [name for name in read[0] if name in kept[0]]
        values = [[row[name] for name in common] for row in kept]
        left_out = [row for row in read if [row[name] for name in common] not in values]
        return [self._shown(ref, row) for row in left_out] if len(left_out) < len(read) else []

    def _choice(self, model: str) -> Reason:
        where = rules.choice_line(self.compiled, model)
        text = rules.sentence(self.compiled, model) or f"{model} does not keep them"
        return Reason(model, text, where)

    def _shown(self, model: str, row: Row) -> Row:
        """The row with personal values masked. Empty values are shown, as they identify nobody, and
        so is the key, which was given."""
        masked = set()
        if not self._unmask:
            masked = {name for name in row if is_personal(self.compiled, model, name)}
        return {
            name: MASKED
            if name in masked - {self.audience.key} and str(value or "").strip()
            else value
            for name, value in row.items()
        }

    # Why a file with the user is not published

    def _why_unpublished(self, output: Output, key: str) -> Iterator[Reason]:
        """The failed data tests that keep a file from being published."""
        if self._failed_tests is None:
            self._failed_tests = failed_tests(self.user_rows)
        for test in self._failed_tests:
            if output.audience_type in test.result.audience_types:
                rows_of_user = ", this user's among them" if key in test.keys else ""
                text = (
                    f"failed data test {test.result.name}: {test.result.in_words}{rows_of_user}, "
                    f"so {output.audience_type} is not published"
                )
                yield Reason(test.result.reads[0], text, test.result.location)

    # Where and why a user was lost

    def _lost_at(self, key: str) -> list[str]:
        """For each output, the first model on the way to it that does not have the user."""
        dropped = self._dropping_model(key)
        if dropped is not None:
            return [dropped]
        outputs = self.audience.outputs
        models = (model for output in outputs for model in self._lost_before(output.model, key))
        return list(dict.fromkeys(models))

    def _dropping_model(self, key: str) -> str | None:
        """The first model on the way to the activity model, or to all files if that has no key,
        that reads the source table of `key_source` and leaves out the user, who is in that table.

        A model does not count if the activity model, or a file, has users who are not in it.
        """
        source = self.audience.trace.key_source
        if source is None or key not in (self._known_keys or ()):
            return None
        relation = self.compiled.project.sources[(source.source, source.table)].relation
        ends = {self._activity} if self._activity else {one.model for one in self.audience.outputs}
        on_the_way = frozenset(name for end in ends for name in self._joined_upstream(end))
        without = (
            model
            for model in self.user_rows.rows
            if model in on_the_way
            and relation in self.compiled.graph.models[model].sql.text
            and not self._rows(model, key)
        )
        return next(
            (
                model
                for model in without
                if all(end == model or self._is_needed(end, model) for end in ends)
            ),
            None,
        )

    def _joined_upstream(self, model: str) -> frozenset[str]:
        """The model, and those upstream that are not only read in left joins or to exclude."""
        found, waiting = {model}, [model]
        while waiting:
            name = waiting.pop()
            for ref in self.compiled.graph.models[name].refs:
                if ref not in found and not rules.may_miss(self.compiled, name, ref):
                    found.add(ref)
                    waiting.append(ref)
        return frozenset(found)

    def _lost_before(self, model: str, key: str) -> list[str]:
        """The first models without the user on the way to `model`, which does not have them.

        Of what a model reads, what it needs counts. If it needs none of the models without the
        user, and none has them, all of them count: each may be where the user comes from. So it is
        with several models that the activity model reads, which are not looked at.
        """
        if model == self._activity:
            return [self._inactive_at(key)]
        refs = [ref for ref in self.user_rows.refs(model) if ref not in self._upstream]
        missing = [
            ref
            for ref in refs
            if not self._rows(ref, key) and not rules.may_miss(self.compiled, model, ref)
        ]
        needed = [ref for ref in missing if self._is_needed(model, ref)]
        if needed or any(self._rows(ref, key) for ref in refs):
            missing = needed
        models = [upstream for ref in missing for upstream in self._lost_before(ref, key)]
        return list(dict.fromkeys(models)) or [model]

    def _inactive_at(self, key: str) -> str:
        """The first model without the user of those that lead to the activity model one by one."""
        model = str(self._activity)
        while len(refs := self.user_rows.refs(model)) == 1 and not self._rows(refs[0], key):
            (model,) = refs
        return model

    def _is_needed(self, model: str, ref: str) -> bool:
        if (model, ref) not in self._needs:
            self._needs[model, ref] = self.user_rows.needs(model, ref)
        return self._needs[model, ref]

    def _reasons(self, model: str, key: str) -> list[Reason]:
        """The rule columns that are not true in the rows that a model reads, if each row has such a
        column; otherwise the model's own rule."""
        for ref in self.user_rows.refs(model):
            rows = self._rows(ref, key)
            broken = [self._broken_rules(ref, row) for row in rows]
            if rows and all(broken):
                columns = dict.fromkeys(column for row in broken for column in row)
                return _distinct(
                    reason
                    for column in columns
                    for reason in self._column_reasons(ref, column, key)
                )
        text = rules.sentence(self.compiled, model)
        clause = f"{model} has no row of this user: {rules.filter_clause(self.compiled, model)}"
        is_active = model == self._activity or model in self._upstream
        place = rules.window_line if is_active else rules.filter_line
        return [Reason(model, text or clause, place(self.compiled, model))]

    def _broken_rules(self, model: str, row: Row) -> list[str]:
        return [
            name
            for name, value in row.items()
            if (value is False or value is None) and rules.is_rule(self.compiled, model, name)
        ]

    def _column_reasons(self, model: str, column: str, key: str) -> list[Reason]:
        """Why a rule column is not true in the user's rows: the sentences of the first model with
        sentences about it, at the line of the first model that has the column."""
        upstream = self.compiled.graph.upstream(model)
        with_column = [
            name
            for name in self.user_rows.rows
            if name in upstream and any(column in row for row in self._rows(name, key))
        ]
        origin = with_column[0]
        where = rules.column_line(self.compiled, origin, column)
        reasons = []
        for name in with_column:
            for row in self._rows(name, key):
                shown = self._shown(name, row)
                sentence = rules.sentence(self.compiled, name, column, shown)
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
            self._outside = self.user_rows.outside_window(self._given)
        model, as_of = str(self._activity), self.compiled.parameters.as_of
        actions = []
        for row in self._outside[key]:
            at = moment(row.get(time))
            if at is not None and not window.start <= at < window.end:
                after, until = at + (as_of - window.end), at + (as_of - window.start)
                actions.append(OutsideAction(self._shown(model, row), at, after, until))
        return sorted(
            actions, key=lambda action: max(window.start - action.at, action.at - window.end)
        )


def _distinct(reasons: Iterable[Reason]) -> list[Reason]:
    return list(dict.fromkeys(reasons))
