"""What is logged, event by event: a message for people, fields for machines. Never row data, but
for what an old engine's command prints, which is told as it comes."""

from __future__ import annotations

import logging

from runner.errors import AudienceError
from runner.files.document import RunResult

log = logging.getLogger("runner.run")


def tell(event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """One event: a message for people, fields for machines. Never row data."""
    log.log(level, message, extra={"event": event, "fields": fields})


def tell_outcome(result: RunResult) -> None:
    level = logging.ERROR if result.status == "failed" else logging.INFO
    message = f"{result.status}: {result.audience_size:,} rows in {result.execution_time_ms} ms"
    if result.error:
        message = f"{result.status}: {result.error}"
    tell(
        "run_ended",
        message,
        level=level,
        status=result.status,
        audience_size=result.audience_size,
        ms=result.execution_time_ms,
        error=result.error,
    )


def tell_output(line: str) -> None:
    """A line that the legacy command printed, secrets hidden."""
    tell("legacy_output", f"| {line}", line=line)


def tell_left_behind(names: list[str]) -> None:
    """Files that the legacy command made beside those of the audience."""
    if names:
        tell(
            "legacy_left_behind",
            f"not published, no file of this audience: {', '.join(names)}",
            level=logging.WARNING,
            files=names,
        )


def tell_trouble(what: str, problem: AudienceError) -> None:
    """Something that changes nothing about how the run ends."""
    tell("trouble", f"{what}: {problem}", level=logging.WARNING, error=str(problem))


def tell_removed(names: list[str]) -> None:
    if names:
        tell("old_runs_removed", f"{len(names)} files of old runs removed", files=names)
