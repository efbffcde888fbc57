"""`run()`: the phases of a run, in order. Open this file first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from operator import attrgetter
from typing import Literal

from runner.clock import Deadline, seconds_of
from runner.database.retries import retried
from runner.database.session import Session, open_session
from runner.database.snapshot import Reach
from runner.database.sources import Sources, find_sources
from runner.errors import AudienceError, DatabaseError, LockedError, UsageError
from runner.files.document import CsvFile, DataTestResult, FunnelCount, RunResult
from runner.project.audience import Output
from runner.project.load import load_project
from runner.project.nodes import Project
from runner.project.secrets import hide
from runner.project.targets import Target
from runner.runs import log
from runner.runs.data_tests import columns_result, raise_failed, results_of
from runner.runs.export import Streamed
from runner.runs.locks import Contender
from runner.runs.publish import Destination, Publication, destination
from runner.runs.settings import Settings
from runner.runs.size_guards import check_size, raise_if_held
from runner.runs.state import RunState
from runner.runs.steps import OneByOne, Steps, WholeFailed, in_one_statement
from runner.sql.compile import compile_audience
from runner.sql.plan import READ_ONLY, SNAPSHOT, Plan, Step


def run(
    settings: Settings,
    *,
    reach: Reach = nullcontext,
    when_published: Callable[[], None] = lambda: None,
) -> RunResult:
    """Make the files of one audience, from one snapshot, and publish them.

    `reach` starts the demo's server if the target is the demo. `when_published` is called once the
    files and their manifest are published, while signals are ignored.

    Raises `UsageError` for what is wrong with how it was called, nearly always before anything is
    connected to, and `LockedError` if another run of the audience is at work. Other failures are
    in the result: `failed` means that nothing was published, `partial` that some types were.
    """
    hide(settings.target)
    clock, started_at = time.monotonic(), datetime.now(UTC)
    project = load_project(settings.project_dir)
    plan = _plan(settings, project, started_at)
    state = RunState(settings, plan, clock, when_published)
    contender = _contender(state)
    try:
        with destination(settings, state.compiled.audience, started_at, contender) as files:
            if files.started_at != started_at:  # another run has the files of that second
                state.begin(_plan(settings, project, files.started_at))
            with files.recorded(state):
                log.run_started(state.identity)
                _make(state, files, contender, reach)
                contender.deadline.check("about to publish")
                files.publish(state)
            result = state.result()
    except (UsageError, LockedError):
        raise
    except (KeyboardInterrupt, SystemExit) as problem:
        if not state.is_published:
            problem.add_note("nothing was published")
        raise
    except AudienceError as problem:
        result = state.failed(problem)
    log.run_ended(result)
    return result


def _plan(settings: Settings, project: Project, started_at: datetime) -> Plan:
    """All that can be known and refused before anything is connected to."""
    as_of = settings.as_of or started_at
    if settings.engine == "v1":
        from runner.runs.legacy import without_models

        return Plan(without_models(settings, project, as_of), started_at)
    compiled = compile_audience(project, settings.audience, settings.parameters, as_of)
    plan = Plan(compiled, started_at)
    plan.check()
    return plan


def _contender(state: RunState) -> Contender:
    settings = state.settings
    seconds = settings.deadline_seconds or seconds_of(settings.target.deadline)
    return Contender(
        profile=settings.target.profile,
        audience=state.compiled.audience.name,
        run_id=state.run_id,
        deadline=Deadline(seconds, state.clock + seconds),
        patience=Deadline.after(settings.wait_seconds),
        report=log.waiting,
    )


def _make(state: RunState, files: Destination, contender: Contender, reach: Reach) -> None:
    """Stage the files, by the engine that was chosen."""
    if isinstance(files, Publication) and state.settings.engine == "v1":
        from runner.runs.legacy import run_legacy

        state.restart()
        run_legacy(state, files.claim, contender.deadline)
        return

    def retry(problem: DatabaseError, seconds: float) -> None:
        state.end_attempt(problem, seconds)
        log.retrying(len(state.attempts), problem, seconds)

    with reach(state.settings.target) as target:
        retried(lambda: _attempt(state, target, files, contender), contender.deadline, retry)


def _attempt(state: RunState, target: Target, files: Destination, contender: Contender) -> None:
    """The run from its beginning up to publication."""
    state.restart()
    name = contender.application_name
    with open_session(target, deadline=contender.deadline, application_name=name) as session:
        files.begin_attempt(session, contender)
        server = session.server()
        state.use(server)
        log.connected(server)
        for statement in state.plan.session:
            session.execute(statement)
        sources = state.timed("prepare", "prepare", lambda: _prepare(state, session))
        with session.transaction(SNAPSHOT, end="rollback"):
            sources.lock(session)
            _read(state, session, files)
            sources.check(session)


def _prepare(state: RunState, session: Session) -> Sources:
    """Empty temp tables and probes: the server checks every name and type, and reads nothing."""
    with session.transaction(state.plan.begin_preparation):
        sources = find_sources(session, state.plan.sources)
        for step in state.plan.creates:
            if state.needs(step.types):
                with state.guarded(step.types, session):
                    session.execute(step.sql, step.location)
        # a probe runs the model's functions, if only to plan: they may not write either
        session.execute(READ_ONLY)
        for step in state.plan.probes:
            if state.needs(step.types):
                with state.guarded(step.types, session):
                    session.execute(step.sql, step.location)
                    assert step.output is not None
                    columns = columns_result(session, state.compiled, step.output)
                    _note_tests(state, [columns])
    return sources


def _read(state: RunState, session: Session, files: Destination) -> None:
    """Everything that the snapshot is asked for."""
    if state.compiled.can_build:
        _follow(state, state.plan.steps, OneByOne(session), files)
        return
    while True:
        types = frozenset(state.alive)
        try:
            with in_one_statement(session, state.plan, types) as steps:
                _follow(state, state.plan.steps_of(types), steps, files)
        except WholeFailed as failure:
            if failure.problem.is_transient:
                raise failure.problem from None
            with state.guarded(state.plan.types_at(failure.problem.where)):
                raise failure.problem from None
        if types == frozenset(state.alive) or not state.has_activity:
            return
        # what is left once more: the types that fail were part of the test across files
        state.begin_again()
        files.discard()


def _follow(state: RunState, planned: Iterable[Step], steps: Steps, files: Destination) -> None:
    """Working tables, counts, data tests and files, until there turns out to be no activity."""
    for step in planned:
        if not state.needs(step.types):
            continue
        if step.is_across_files and len(state.outputs) < len(step.types):
            if steps.savepoints is None:
                return
            if len(state.outputs) == 1:
                continue
            step = state.plan.across_files(state.outputs)
        with state.guarded(step.types, steps.savepoints):
            rows = _do(state, steps, files, step)
            if step.is_activity and not rows:
                state.has_activity = False
                return


def _do(state: RunState, steps: Steps, files: Destination, step: Step) -> int | None:
    """One step of the plan; its rows, if it counts any."""
    match step.kind:
        case "table":
            return state.timed(step.name, "table", lambda: steps.fill(step), rows=int)
        case "count":
            return state.timed(step.name, "count", lambda: _count(state, steps, step), rows=int)
        case "tests":
            state.timed(step.name, "tests", lambda: _test(state, steps, step))
        case "file" | "test_file":
            _export(state, steps, files, step, step.kind)
    return None


def _count(state: RunState, steps: Steps, step: Step) -> int:
    counts = steps.rows(step)
    total: int = sum(count for _, count in counts)
    if step.is_funnel:
        by_kind = {str(kind): count for kind, count in counts if kind is not None}
        state.funnel.append(FunnelCount(label=step.name, total=total, by_kind=by_kind))
    return total


def _test(state: RunState, steps: Steps, step: Step) -> None:
    _note_tests(state, results_of(step.tests, steps.rows(step)))


def _note_tests(state: RunState, results: list[DataTestResult]) -> None:
    """Note what data tests found. Raises `DataTestError` if one of severity error failed."""
    state.data_tests += results
    log.data_tests_ended(results)
    raise_failed(state.compiled, results)


def _export(
    state: RunState,
    steps: Steps,
    files: Destination,
    step: Step,
    kind: Literal["file", "test_file"],
) -> None:
    """Stream one file. Raises `SizeGuardError` if a production file's size is not let through."""
    assert step.output is not None
    crlf = state.compiled.audience.line_ending == "crlf"

    def stream() -> Streamed:
        with steps.stream(step) as blocks:
            return files.store(step.name, blocks, crlf=crlf)

    streamed = state.timed(step.name, kind, stream, rows=attrgetter("rows"))
    file = CsvFile(
        path=state.settings.output_dir / step.name,
        row_count=streamed.rows,
        is_test_file=kind == "test_file",
        audience_type=step.output.audience_type,
        size_bytes=streamed.size_bytes,
        sha256=streamed.sha256,
    )
    if not file.is_test_file:
        _judge_size(state, files, step.output, file)
    state.files.append(file)


def _judge_size(state: RunState, files: Destination, output: Output, file: CsvFile) -> None:
    history = files.past_runs(state.identity.audience)
    found = check_size(output, file.row_count, state.identity, history)
    state.size_guards.append(found)
    log.size_judged(found, state.settings.accepted_size)
    raise_if_held(found, state.compiled.output_location(output))
