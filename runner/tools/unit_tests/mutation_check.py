"""Do the cases notice when a model changes? Each small change is made alone and its cases run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runner.errors import ConnectionLost, DatabaseError, ProjectError, UsageError
from runner.project.nodes import Model, Project
from runner.project.unit_test import UnitCase
from runner.tools.unit_tests.fixtures import model_audience
from runner.tools.unit_tests.mutations import Mutation, mutations
from runner.tools.unit_tests.unit_tests import Bench, chosen_cases

Outcome = Literal["noticed", "refused", "equivalent", "unnoticed", "stale"]
NOT_SQL = ("42", "0A")
"""Classes of SQLSTATE: no run would get past the server with this, and no case is needed."""

_EQUIVALENT = re.compile(r"\s*-- equivalent: `(.+?)` to `(.*?)`[:,] (.+)")
_COMMENT = re.compile(r"\s*--\s?(.*)")


@dataclass(frozen=True)
class Equivalence:
    """What a comment above a line of a model says: this change of the line means the same."""

    line: int
    change: tuple[str, str]
    reason: str


@dataclass(frozen=True)
class Mutant:
    """One change of one model and what came of it. `told_by` is a case, or a reason."""

    path: Path
    line: int
    column: int
    change: tuple[str, str]
    difference: tuple[str, ...]
    outcome: Outcome
    told_by: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "line": self.line,
            "column": self.column,
            "from": self.change[0],
            "to": self.change[1],
            "outcome": self.outcome,
            "case" if self.outcome == "noticed" else "reason": self.told_by or None,
        }


def check_mutations(
    bench: Bench, select: Sequence[str], tell: Callable[[str], None] = lambda _line: None
) -> list[Mutant]:
    """Change each model, once for each mutation, and run its cases.

    All models, or those that `select` names or whose cases it names. `tell` is given a line of
    progress for each. Raises `UsageError` if a case fails as things are, `ProjectError` at a case
    that is wrong.
    """
    chosen = {case.test.model for case in chosen_cases(bench.project, select)}
    found: list[Mutant] = []
    for name, model in bench.project.models.items():
        if select and name not in chosen:
            continue
        own = [case for case in bench.project.unit_cases if case.test.model == name]
        _check_that_all_pass(bench, own)
        made = list(_mutants(bench, model, own))
        noticed = sum(one.outcome in ("noticed", "refused") for one in made)
        tell(f"{name}: {noticed} of {len(made)} changes noticed by {len(own)} cases")
        found += made
    return found


def _check_that_all_pass(bench: Bench, cases: Iterable[UnitCase]) -> None:
    for case in cases:
        if bench.run(case).status != "pass":
            raise UsageError(
                f"{case.name} does not pass as it is, so it cannot notice a change",
                where=case.location,
                mend="see audiences test --unit",
            )


def _mutants(bench: Bench, model: Model, cases: list[UnitCase]) -> Iterator[Mutant]:
    explained = {(one.line, one.change): one for one in equivalences(model.source_text)}
    stale = dict(explained)
    for mutation in mutations(model.source_text, _parameter_types(bench.project, model)):
        key = (mutation.line_and_column(model.source_text)[0], mutation.change(model.source_text))
        told_by = _noticing(bench, model, mutation, cases)
        if told_by is not None:
            yield _mutant(model, mutation, *told_by)
        elif key in explained:
            stale.pop(key, None)
            yield _mutant(model, mutation, "equivalent", explained[key].reason)
        else:
            yield _mutant(model, mutation, "unnoticed", "")
    for one in stale.values():
        # a reason that explains nothing would hide the next change of that line
        yield Mutant(model.path, one.line, 1, one.change, (), "stale", one.reason)


def _noticing(
    bench: Bench, model: Model, mutation: Mutation, cases: list[UnitCase]
) -> tuple[Outcome, str] | None:
    """Which case notices a change first; None if all of them pass."""
    changed = replace(model, source_text=mutation.applied(model.source_text))
    for case in cases:
        try:
            if bench.differences(case, changed):
                return "noticed", case.name
        except ConnectionLost:
            raise
        except DatabaseError as problem:
            is_refused = (problem.sqlstate or "").startswith(NOT_SQL)
            return ("refused", problem.what) if is_refused else ("noticed", case.name)
        except ProjectError as problem:
            return "refused", problem.what
    return None


def _mutant(model: Model, mutation: Mutation, outcome: Outcome, told_by: str) -> Mutant:
    source = model.source_text
    line, column = mutation.line_and_column(source)
    change = mutation.change(source)
    return Mutant(model.path, line, column, change, _diff(source, mutation), outcome, told_by)


def _diff(source: str, mutation: Mutation) -> tuple[str, ...]:
    """The lines that differ, as a diff shows them."""
    old, new = source.splitlines(), mutation.applied(source).splitlines()
    head = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    rest = min(len(old), len(new)) - head
    tail = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    removed, added = old[head : len(old) - tail], new[head : len(new) - tail]
    return (*(f"- {line}" for line in removed), *(f"+ {line}" for line in added if line.strip()))


def _parameter_types(project: Project, model: Model) -> dict[str, str]:
    audience = model_audience(project, model.name)
    return {one.name: one.type for one in audience.parameters} if audience else {}


def equivalences(source: str) -> list[Equivalence]:
    """The comments ``-- equivalent: `this` to `that`: reason``, each for the next line of SQL.

    A reason may go on over further lines of comment.
    """
    found: list[Equivalence] = []
    waiting: list[tuple[tuple[str, str], str]] = []
    for number, line in enumerate(source.splitlines(), start=1):
        comment = _COMMENT.fullmatch(line)
        if one := _EQUIVALENT.fullmatch(line):
            waiting.append(((one[1], one[2]), one[3]))
        elif comment and waiting:
            change, reason = waiting.pop()
            waiting.append((change, f"{reason} {comment[1]}".strip()))
        elif waiting and line.strip():
            found += [Equivalence(number, change, reason) for change, reason in waiting]
            waiting = []
    return found
