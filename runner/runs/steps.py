"""What the steps of a run give: each from a statement of its own, or all from one statement.

Both kinds have the same methods, so that the phases do not ask which one they have.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from runner.database.session import Buffer, Session
from runner.errors import DatabaseError, Location
from runner.sql.plan import Plan, Step, copied


class Steps(Protocol):
    """Gives what each step of a plan asks for, in the plan's order."""

    @property
    def savepoints(self) -> Session | None:
        """Where a step that fails is undone; None where a failure is that of all steps."""

    def fill(self, step: Step) -> int:
        """Fill a working table; the number of its rows."""

    def rows(self, step: Step) -> Sequence[Any]:
        """The rows of a count or of tests."""

    def stream(self, step: Step) -> AbstractContextManager[Iterable[Buffer]]:
        """The rows of a file as CSV, its header first."""


@dataclass(frozen=True)
class OneByOne:
    """A statement for each step, which reads working tables."""

    session: Session

    @property
    def savepoints(self) -> Session:
        return self.session

    def fill(self, step: Step) -> int:
        return self.session.execute_together((sql, step.location) for sql in step.statements)[0]

    def rows(self, step: Step) -> Sequence[Any]:
        return self.session.rows(step.sql, step.location)

    def stream(self, step: Step) -> AbstractContextManager[Iterable[Buffer]]:
        return self.session.copy(copied(step), step.location)


class WholeFailed(Exception):
    """The one statement failed, and with it all steps that were still to come from it."""

    def __init__(self, problem: DatabaseError) -> None:
        super().__init__(str(problem))
        self.problem = problem


class InOneStatement:
    """One statement whose rows are those of all steps, one step after the other.

    Where no temp table can be created, each model is then computed once and not for each file, and
    a model whose rows differ from one reading to the next cannot put a user into two files.
    """

    savepoints: Session | None = None

    def __init__(self, steps: Sequence[Step], blocks: Iterable[Buffer]) -> None:
        self._numbers = {_key(step): number for number, step in enumerate(steps)}
        self._width = max(step.width for step in steps)
        self._blocks = iter(blocks)
        self._next: tuple[int, bytes] | None = None
        self._advance()

    def fill(self, step: Step) -> int:
        raise AssertionError(f"{step.name}: there are no working tables")

    def rows(self, step: Step) -> list[tuple[str | None, int]]:
        """A count has a label and a number, a test its number and that of its failures."""
        lines = (line.decode() for line in self._lines(step))
        return [(label or None, int(number)) for label, number in csv.reader(lines)]

    @contextmanager
    def stream(self, step: Step) -> Iterator[Iterable[Buffer]]:
        yield self._lines(step)

    def _lines(self, step: Step) -> Iterator[bytes]:
        """The rows of one step; those of steps that nobody asked for are skipped."""
        number, padding = self._numbers[_key(step)], self._width - step.width
        while self._next is not None and self._next[0] <= number:
            if self._next[0] == number:
                line = self._next[1]
                yield line[: -1 - padding] + b"\n" if padding else line
            self._advance()

    def _advance(self) -> None:
        try:
            block = next(self._blocks, None)
        except DatabaseError as problem:
            raise WholeFailed(problem) from problem
        if block is None:
            self._next = None
            return
        number, _, line = bytes(block).split(b",", 2)
        self._next = int(number), line


@contextmanager
def in_one_statement(
    session: Session, plan: Plan, types: frozenset[str]
) -> Iterator[InOneStatement]:
    """Send the one statement for these types. Raises `WholeFailed` if the server refuses it; the
    transaction is then as before."""
    whole = plan.whole(types)
    try:
        with session.savepoint(), session.copy(copied(whole), whole.location) as blocks:
            yield InOneStatement(plan.steps_of(types), blocks)
            for _ in blocks:  # what nobody asked for
                pass
    except DatabaseError as problem:
        raise WholeFailed(problem) from problem


def _key(step: Step) -> tuple[str, str, Location]:
    return step.kind, step.name, step.location
