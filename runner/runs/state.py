"""What a run has done so far, and the telling of it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from runner import __version__
from runner.database.session import Server, Session
from runner.errors import AudienceError, ConnectionLost, DatabaseError, DeadlinePassed, Location
from runner.files.document import (
    Attempt,
    CsvFile,
    DataTestResult,
    FunnelCount,
    LegacyCommand,
    RunIdentity,
    RunResult,
    Status,
    Step,
    StepKind,
    TypeFailure,
)
from runner.project.audience import Output
from runner.runs.log import tell
from runner.runs.settings import Settings
from runner.runs.size_guards import Judgement
from runner.sql.compile import CompiledAudience, inlined


@dataclass
class Progress:
    """What a run has done so far. `alive` are the audience types that can still be published."""

    settings: Settings
    compiled: CompiledAudience
    identity: RunIdentity | None = None
    working_tables: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    funnel: list[FunnelCount] = field(default_factory=list)
    data_tests: list[DataTestResult] = field(default_factory=list)
    size_guards: list[Judgement] = field(default_factory=list)
    files: list[CsvFile] = field(default_factory=list)
    failures: list[TypeFailure] = field(default_factory=list)
    manifest: Path | None = None
    is_published: bool = False
    legacy: LegacyCommand | None = None

    def begin(self, compiled: CompiledAudience, started_at: datetime) -> None:
        self._given = self.compiled = compiled
        self.identity = RunIdentity(
            run_id=self.identity.run_id if self.identity else str(uuid.uuid4()),
            audience=compiled.audience.name,
            target=self.settings.target.name,
            started_at=started_at,
            parameters=compiled.parameters,
            project_version=__version__,
            models_hash=compiled.project.models_hash,
            automation_id=self.settings.automation_id,
            is_dry_run=self.settings.is_dry_run,
            engine=self.settings.engine,
            accepted_size=self.settings.accepted_size,
        )

    def restart(self) -> None:
        """Another attempt at the same run: what the last one did counts no more."""
        self.compiled = self._given
        self.working_tables = None
        self.alive = [output.audience_type for output in self.compiled.audience.outputs]
        for done in (
            self.steps,
            self.funnel,
            self.files,
            self.failures,
            self.data_tests,
            self.size_guards,
        ):
            done.clear()
        self.attempts.append(Attempt(datetime.now(UTC)))

    def tell_retry(self, problem: DatabaseError, seconds: float) -> None:
        self._end_attempt(problem, seconds)
        tell(
            "retry",
            f"attempt {len(self.attempts)} failed, the next one begins in {seconds:.1f} s: "
            f"{problem}",
            level=logging.WARNING,
            attempt=len(self.attempts),
            reason=str(problem),
            sqlstate=problem.sqlstate,
            ms=round(seconds * 1000),
        )

    def _end_attempt(self, problem: AudienceError, seconds: float = 0) -> None:
        state = problem.sqlstate if isinstance(problem, DatabaseError) else None
        self.attempts[-1:] = [
            replace(one, reason=str(problem), sqlstate=state, waited_ms=round(seconds * 1000))
            for one in self.attempts[-1:]
        ]

    def tell_waiting(self, who: str) -> None:
        tell("waiting", f"waiting: {who}", holder=who)

    def tell_start(self) -> None:
        tell("run_started", self.run.in_words, **self.run.as_json())

    def use(self, server: Server) -> None:
        """Settle how models are held on this server."""
        if not server.can_build:
            self.compiled = inlined(self.compiled)
        self.working_tables = server.working_tables
        tell(
            "connected",
            f"PostgreSQL {server.version}, database {server.database}, user {server.user}; "
            f"models: {server.working_tables}",
            server_version=server.version,
            working_tables=server.working_tables,
        )

    @property
    def run(self) -> RunIdentity:
        assert self.identity is not None, "begin() comes first"
        return self.identity

    @property
    def started_at(self) -> datetime:
        return self.run.started_at

    @property
    def outputs(self) -> list[Output]:
        wanted = self.compiled.audience.outputs
        return [output for output in wanted if output.audience_type in self.alive]

    def paths_of(self, output: Output) -> list[Path]:
        """Final names of an output's files."""
        mine = [file for file in self.files if file.audience_type == output.audience_type]
        return [file.path for file in mine]

    def types_of(self, model: str) -> frozenset[str]:
        """The types that fall with a model; all of them if it only counts."""
        return self.compiled.types_needing(model) or frozenset(self.alive)

    def needs(self, model: str) -> bool:
        return bool(self.types_of(model) & set(self.alive))

    @contextmanager
    def attempt(self, types: frozenset[str], session: Session | None = None) -> Iterator[None]:
        """If what happens inside fails, these types fall; with the last of them, the run."""
        has_begun = False
        try:
            with session.savepoint() if session else nullcontext():
                has_begun = True
                yield
        except ConnectionLost:
            raise
        except AudienceError as problem:
            if not has_begun or problem.is_transient:
                raise
            self._drop(types, problem)
            if self.settings.is_all_or_nothing or not self.alive:
                raise

    def _drop(self, types: frozenset[str], problem: AudienceError) -> None:
        fallen = [one for one in self.alive if one in types]
        self.alive = [one for one in self.alive if one not in types]
        self.files = [file for file in self.files if file.audience_type in self.alive]
        where = problem.where if isinstance(problem.where, Location) else None
        self.failures += [TypeFailure(one, str(problem), where) for one in fallen]
        tell(
            "types_failed",
            f"not published: {', '.join(fallen)}: {problem}",
            level=logging.ERROR,
            excerpt=problem.excerpt(),
            audience_types=fallen,
            error=str(problem),
        )

    @contextmanager
    def step(self, name: str, kind: StepKind) -> Iterator[list[int | None]]:
        """Times a step; what happens inside puts its rows into the list it is given."""
        tell("step_started", f"{name} ...", level=logging.DEBUG, step=name, kind=kind)
        clock = time.monotonic()
        rows: list[int | None] = [None]
        try:
            yield rows
        except DeadlinePassed as problem:
            raise problem.during(_doing(name, kind)) from None
        finally:
            done = Step(name, kind, rows[0], round((time.monotonic() - clock) * 1000))
            self.steps.append(done)
        counted = "" if done.rows is None else f"{done.rows:,} rows, "
        tell(
            "step",
            f"{name}: {counted}{done.milliseconds / 1000:.3f} s",
            step=name,
            kind=kind,
            rows=done.rows,
            ms=done.milliseconds,
        )

    def tested(self, results: Iterable[DataTestResult]) -> None:
        """Note what data tests found, and warn of those that only warn."""
        for found in results:
            self.data_tests.append(found)
            if found.status == "warn":
                tell(
                    "data_test_warned",
                    f"data test {found.name} ({found.location}) warns: {found.in_words}",
                    level=logging.WARNING,
                    **found.as_json(),
                )

    def sized(self, judgement: Judgement) -> None:
        """Note what a size guard says, and warn of what was let through for a reason given."""
        self.size_guards.append(judgement)
        if judgement.verdict == "accepted":
            tell(
                "size_accepted",
                f"size guard of {judgement.audience_type} passed over: {judgement.reason}; "
                f"accepted: {self.settings.accepted_size}",
                level=logging.WARNING,
                accepted_size=self.settings.accepted_size,
                **judgement.as_json(),
            )

    def running(self) -> RunResult:
        """What is known before anything is read."""
        return RunResult("running", self.identity)

    def result(self, clock: float, *, has_activity: bool) -> RunResult:
        status: Status = "partial" if self.failures else "success"
        return self._result(clock, status if has_activity else "no_activity")

    def failed(self, clock: float, problem: AudienceError) -> RunResult:
        if self.attempts and self.attempts[-1].reason is None:
            self._end_attempt(problem)
        messages = dict.fromkeys([*(one.message for one in self.failures), str(problem)])
        if (count := len(self.attempts)) > 1:
            messages[f"that was attempt {count} of the run"] = None
        return replace(
            self._result(clock, "failed"), csv_files=(), rows_by_type={}, error="; ".join(messages)
        )

    def _result(self, clock: float, status: Status) -> RunResult:
        production = [file for file in self.files if not file.is_test_file]
        return RunResult(
            status=status,
            identity=self.identity,
            csv_files=() if self.settings.is_dry_run else tuple(self.files),
            rows_by_type={file.audience_type: file.row_count for file in production},
            execution_time_ms=round((time.monotonic() - clock) * 1000),
            error="; ".join(one.message for one in self.failures) or None,
            failures=tuple(self.failures),
            attempts=tuple(self.attempts),
            steps=tuple(self.steps),
            funnel=tuple(self.funnel),
            data_tests=tuple(self.data_tests),
            size_guards=tuple(one.as_json() for one in self.size_guards),
            working_tables=self.working_tables,
            manifest=self.manifest,
            legacy=self.legacy,
        )


def _doing(name: str, kind: StepKind) -> str:
    verbs = {"prepare": "preparing", "tests": f"running {name}", "table": f"filling {name}"}
    verbs |= {"count": f"counting {name}", "legacy": f"running the {name}"}
    return verbs.get(kind, f"writing {name}")
