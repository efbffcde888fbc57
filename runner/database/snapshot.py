"""An audience's models made as a run makes them, for commands that look and publish nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from runner.database.session import Session, open_session
from runner.database.sources import find_sources
from runner.project.targets import Target
from runner.sql.compile import CompiledAudience
from runner.sql.plan import SNAPSHOT, Plan, Step

Reach = Callable[[Target], AbstractContextManager[Target]]
"""Makes a target one that can be connected to, for as long as the work takes: the demo starts."""


@dataclass
class Snapshot:
    """One session inside a read-only snapshot. Models are filled when they are first needed."""

    plan: Plan
    session: Session
    filled: set[str] = field(default_factory=set)

    @property
    def compiled(self) -> CompiledAudience:
        return self.plan.compiled

    def fill(self, names: Iterable[str]) -> None:
        """Fill the temp tables that these models need, themselves included, once each.

        Raises `DatabaseError` at the model's own line; the snapshot is then of no more use.
        """
        for step in self.plan.fills(names):
            if step.name not in self.filled:
                self.session.execute_together((sql, step.location) for sql in step.statements)
                self.filled.add(step.name)

    def follow_up(self, step: Step) -> None:
        """What comes after a table's rows: the planner is given statistics where models read it."""
        if step.follow_up:
            self.session.execute(step.follow_up, step.location)
        self.filled.add(step.name)


@contextmanager
def open_snapshot(
    compiled: CompiledAudience, target: Target, models: Iterable[str] | None = None
) -> Iterator[Snapshot]:
    """Connect, make the empty temp tables (none on a standby or without TEMP), begin a snapshot.

    With `models`, only the tables that those need: what is wrong elsewhere does not matter then.
    Raises `DatabaseError` at the model's own line, `ConnectionLost` if there is no server. What
    was made goes with the session.
    """
    plan = Plan(compiled, compiled.parameters.as_of)
    with open_session(target) as session:
        if not session.server().can_build:
            plan = plan.inlined()
        for statement in plan.session:
            session.execute(statement)
        graph = plan.compiled.graph
        roots = graph.models if models is None else models
        needed = {name for root in roots for name in graph.upstream(root)}
        with session.transaction(plan.begin_preparation):
            sources = find_sources(session, plan.sources)
            for step in plan.creates:
                if step.name in needed:
                    session.execute(step.sql, step.location)
        with session.transaction(SNAPSHOT, end="rollback"):
            sources.lock(session)
            yield Snapshot(plan, session)
            sources.check(session)
