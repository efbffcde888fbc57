"""What a run has done so far, and which audience types can still be published."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from runner import __version__
from runner.database.session import Server, Session
from runner.errors import AudienceError, ConnectionLost, DatabaseError, DeadlinePassed, Location
from runner.files.document import (
    Attempt,
    CsvFile,
    DataTestResult,
    FunnelCount,
    LegacyCommand,
    Metadata,
    RunIdentity,
    RunResult,
    SizeGuardResult,
    Span,
    Status,
    StepKind,
    TypeFailure,
)
from runner.files.document import Step as StepDone
from runner.project.audience import Output
from runner.runs import log
from runner.runs.settings import Settings
from runner.sql.compile import CompiledAudience
from runner.sql.plan import Plan

T = TypeVar("T")


@dataclass
class RunState:
    """A run as far as it has come. `clock` is when it began, on the monotonic clock in seconds.

    `alive` are the audience types that can still be published. What one attempt made is dropped
    by `restart`.
    """

    settings: Settings
    plan: Plan
    clock: float
    when_published: Callable[[], None] = lambda: None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    working_tables: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    steps: list[StepDone] = field(default_factory=list)
    funnel: list[FunnelCount] = field(default_factory=list)
    data_tests: list[DataTestResult] = field(default_factory=list)
    size_guards: list[SizeGuardResult] = field(default_factory=list)
    files: list[CsvFile] = field(default_factory=list)
    failures: list[TypeFailure] = field(default_factory=list)
    has_activity: bool = True
    manifest: Path | None = None
    is_published: bool = False
    legacy: LegacyCommand | None = None

    def __post_init__(self) -> None:
        self.begin(self.plan)

    def begin(self, plan: Plan) -> None:
        """Take a plan: the first one, or another one when the run's second was taken."""
        self.plan = self._given = plan
        compiled, parameters = plan.compiled, plan.compiled.parameters
        window = parameters.window
        self.identity = RunIdentity(
            run_id=self.run_id,
            audience=compiled.audience.name,
            automation_id=self.settings.automation_id,
            target=self.settings.target.name,
            is_dry_run=self.settings.is_dry_run,
            engine=self.settings.engine,
            accepted_size=self.settings.accepted_size,
            started_at=plan.started_at,
            as_of=parameters.as_of,
            window=Span(start=window.start, end=window.end) if window else None,
            parameters=parameters.json_values,
            project_version=__version__,
            models_hash=compiled.project.models_hash,
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def restart(self) -> None:
        """Begin another attempt at the same run: what the last one did no longer counts."""
        self.plan = self._given
        self.working_tables = None
        self.has_activity = True
        self.alive = [output.audience_type for output in self.compiled.audience.outputs]
        self.failures.clear()
        self.data_tests.clear()
        self.steps.clear()
        self.begin_again()
        self.attempts.append(Attempt(started_at=datetime.now(UTC)))

    def begin_again(self) -> None:
        """Drop the counts and files so far; the types that failed stay failed."""
        for made in (self.funnel, self.files, self.size_guards):
            made.clear()

    def use(self, server: Server) -> None:
        """Take the plan that fits this server: with temp tables, or without."""
        if not server.can_build:
            self.plan = self.plan.inlined()
        self.working_tables = server.working_tables

    @property
    def compiled(self) -> CompiledAudience:
        return self.plan.compiled

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs whose types can still be published."""
        wanted = self.compiled.audience.outputs
        return tuple(output for output in wanted if output.audience_type in self.alive)

    def needs(self, types: frozenset[str]) -> bool:
        """Whether something that only these types need is still of use."""
        return not types.isdisjoint(self.alive)

    def files_of(self, output: Output) -> list[str]:
        """Final names of an output's files."""
        mine = [file for file in self.files if file.audience_type == output.audience_type]
        return [file.path.name for file in mine]

    @contextmanager
    def guarded(self, types: frozenset[str], session: Session | None = None) -> Iterator[None]:
        """If what happens inside fails, these types are dropped; with the last of them, the run.

        Raises what is raised inside if it is of the session and not of the types, if no type is
        left, or if all types or none are to be published.
        """
        has_begun = False
        try:
            with session.savepoint() if session else nullcontext():
                has_begun = True
                yield
        except AudienceError as problem:
            if isinstance(problem, DatabaseError) and problem.sqlstate:
                ways = (problem.fix, self.plan.way_around(problem))
                problem.fix = "; ".join(way for way in ways if way) or None
            if isinstance(problem, ConnectionLost) or not has_begun or problem.is_transient:
                raise
            self._drop(types, problem)
            if self.settings.is_all_or_nothing or not self.alive:
                raise

    def _drop(self, types: frozenset[str], problem: AudienceError) -> None:
        dropped = [name for name in self.alive if name in types]
        self.alive = [name for name in self.alive if name not in types]
        self.files = [file for file in self.files if file.audience_type in self.alive]
        where = problem.where if isinstance(problem.where, Location) else None
        self.failures += [TypeFailure.at(where, name, str(problem)) for name in dropped]
        log.types_failed(dropped, problem)

    def timed(
        self,
        name: str,
        kind: StepKind,
        action: Callable[[], T],
        *,
        rows: Callable[[T], int | None] = lambda _: None,
    ) -> T:
        """Do one step, log it and note its milliseconds, also if it fails.

        `rows` is how many rows there are in what the action returns.
        """
        log.step_started(name, kind)
        clock, counted = time.monotonic(), None
        try:
            result = action()
            counted = rows(result)
        except DeadlinePassed as problem:
            raise problem.during(_doing(name, kind)) from None
        finally:
            milliseconds = round((time.monotonic() - clock) * 1000)
            done = StepDone(name=name, kind=kind, rows=counted, milliseconds=milliseconds)
            self.steps.append(done)
        log.step_ended(done)
        return result

    def end_attempt(self, problem: AudienceError, wait_seconds: float = 0) -> None:
        """Note why the attempt failed, and how long the run waits until the next one."""
        state = problem.sqlstate if isinstance(problem, DatabaseError) else None
        self.attempts[-1] = Attempt(
            started_at=self.attempts[-1].started_at,
            reason=str(problem),
            sqlstate=state,
            waited_ms=round(wait_seconds * 1000),
        )

    def running(self) -> RunResult:
        """What is known before anything is read."""
        return RunResult.of("running", Metadata(**dict(self.identity)))

    def result(self) -> RunResult:
        """How the run ended, if no error ended it."""
        status: Status = "partial" if self.failures else "success"
        return self._result(status if self.has_activity else "no_activity")

    def failed(self, problem: AudienceError) -> RunResult:
        """How the run ended, if this error ended it. Nothing was published."""
        if self.attempts and self.attempts[-1].reason is None:
            self.end_attempt(problem)
        messages = dict.fromkeys([*(failure.message for failure in self.failures), str(problem)])
        if (count := len(self.attempts)) > 1:
            messages[f"that was attempt {count} of the run"] = None
        return self._result("failed").without_files("failed", "; ".join(messages))

    def _result(self, status: Status) -> RunResult:
        rows_by_type = {
            file.audience_type: file.row_count for file in self.files if not file.is_test_file
        }
        metadata = Metadata(
            **dict(self.identity),
            reason="no_activity" if status == "no_activity" else None,
            rows_by_type=rows_by_type,
            funnel=(*self.funnel, *self._rows_of_files(rows_by_type)),
            data_tests=tuple(self.data_tests),
            size_guards=tuple(self.size_guards),
            attempts=tuple(self.attempts),
            steps=tuple(self.steps),
            working_tables=self.working_tables,
            legacy=self.legacy,
            errors=tuple(self.failures),
            manifest=self.manifest,
        )
        return RunResult.of(
            status,
            metadata,
            csv_files=() if self.settings.is_dry_run else tuple(self.files),
            execution_time_ms=round((time.monotonic() - self.clock) * 1000),
            error="; ".join(failure.message for failure in self.failures) or None,
        )

    def _rows_of_files(self, rows_by_type: dict[str, int]) -> Iterator[FunnelCount]:
        """The last step of the funnel, if the audience declares it and there are files."""
        for step in self.compiled.audience.funnel[-1:]:
            if step.files and rows_by_type and self.legacy is None:
                total = sum(rows_by_type.values())
                yield FunnelCount(label=step.label, total=total, by_kind=rows_by_type)


def _doing(name: str, kind: StepKind) -> str:
    verbs = {"prepare": "preparing", "tests": f"running {name}", "table": f"filling {name}"}
    verbs |= {"count": f"counting {name}", "legacy": f"running the {name}"}
    return verbs.get(kind, f"writing {name}")
