"""Every line that a run logs: a message for people, fields for machines. Never row data, but for
what an old engine's command prints, which is logged as it comes."""

from __future__ import annotations

import logging

from runner.database.session import Server
from runner.errors import AudienceError, DatabaseError
from runner.files.document import DataTestResult, RunIdentity, RunResult, SizeGuardResult, Step

_logger = logging.getLogger("runner.run")


def _log(event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
    _logger.log(level, message, extra={"event": event, "fields": fields})


def run_started(identity: RunIdentity) -> None:
    _log("run_started", identity.in_words, **identity.as_json())


def run_ended(result: RunResult) -> None:
    level = logging.ERROR if result.status == "failed" else logging.INFO
    message = f"{result.status}: {result.audience_size:,} rows in {result.execution_time_ms} ms"
    if result.error:
        message = f"{result.status}: {result.error}"
    _log(
        "run_ended",
        message,
        level=level,
        status=result.status,
        audience_size=result.audience_size,
        ms=result.execution_time_ms,
        error=result.error,
    )


def connected(server: Server) -> None:
    _log(
        "connected",
        f"PostgreSQL {server.version}, database {server.database}, user {server.user}; "
        f"models: {server.working_tables}",
        server_version=server.version,
        working_tables=server.working_tables,
    )


def waiting(holder: str) -> None:
    _log("waiting", f"waiting: {holder}", holder=holder)


def retrying(attempt: int, problem: DatabaseError, seconds: float) -> None:
    _log(
        "retry",
        f"attempt {attempt} failed, the next one begins in {seconds:.1f} s: {problem}",
        level=logging.WARNING,
        attempt=attempt,
        reason=str(problem),
        sqlstate=problem.sqlstate,
        ms=round(seconds * 1000),
    )


def step_started(name: str, kind: str) -> None:
    _log("step_started", f"{name} ...", level=logging.DEBUG, step=name, kind=kind)


def step_ended(step: Step) -> None:
    counted = "" if step.rows is None else f"{step.rows:,} rows, "
    _log(
        "step",
        f"{step.name}: {counted}{step.milliseconds / 1000:.3f} s",
        step=step.name,
        kind=step.kind,
        rows=step.rows,
        ms=step.milliseconds,
    )


def types_failed(types: list[str], problem: AudienceError) -> None:
    _log(
        "types_failed",
        f"not published: {', '.join(types)}: {problem}",
        level=logging.ERROR,
        excerpt=problem.excerpt(),
        audience_types=types,
        error=str(problem),
    )


def data_tests_ended(results: list[DataTestResult]) -> None:
    """Only those that warn: what fails is logged with the types that fail."""
    for result in results:
        if result.status == "warn":
            _log(
                "data_test_warned",
                f"data test {result.name} ({result.location}) warns: {result.in_words}",
                level=logging.WARNING,
                **result.as_json(),
            )


def size_judged(found: SizeGuardResult, accepted_size: str | None) -> None:
    """Only a size that was accepted for the reason that somebody gave."""
    if found.verdict == "accepted":
        _log(
            "size_accepted",
            f"size guard of {found.audience_type} passed over: {found.reason}; "
            f"accepted: {accepted_size}",
            level=logging.WARNING,
            accepted_size=accepted_size,
            **found.as_json(),
        )


def legacy_output(line: str) -> None:
    """A line that the legacy command printed, secrets hidden."""
    _log("legacy_output", f"| {line}", line=line)


def legacy_left_behind(names: list[str]) -> None:
    """Files that the legacy command made beside those of the audience."""
    if names:
        _log(
            "legacy_left_behind",
            f"not published, no file of this audience: {', '.join(names)}",
            level=logging.WARNING,
            files=names,
        )


def trouble(what: str, problem: AudienceError) -> None:
    """Something that changes nothing about how the run ends."""
    _log("trouble", f"{what}: {problem}", level=logging.WARNING, error=str(problem))


def old_runs_removed(names: list[str]) -> None:
    if names:
        _log("old_runs_removed", f"{len(names)} files of old runs removed", files=names)
