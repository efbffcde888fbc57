"""What a run says of itself: the result (seed's names) and the manifest beside the files."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from runner.clock import instant
from runner.errors import EXIT_DONE, EXIT_FAILED, EXIT_PARTIAL, Location
from runner.project.parameters import CheckedParameters
from runner.project.secrets import redacted_document

Status = Literal[
    "running", "publishing", "success", "no_activity", "partial", "failed", "interrupted", "died"
]
"""The first two are a living run's; `interrupted` is a signal's, `died` a killed run's."""
PUBLISHED: tuple[Status, ...] = ("success", "partial")
UNFINISHED: tuple[Status, ...] = ("running", "publishing")
StepKind = Literal["prepare", "table", "count", "tests", "file", "test_file", "legacy"]
ENGINES = {"v1": "its legacy command", "v2": "its models"}
TestStatus = Literal["pass", "warn", "error"]


@dataclass(frozen=True)
class CsvFile:
    """One file as it was streamed. `path` is its final name; sizes in bytes, header included."""

    path: Path
    row_count: int
    is_test_file: bool
    audience_type: str
    size_bytes: int
    sha256: str

    def as_json(self, *, relative: bool) -> dict[str, Any]:
        return {
            "path": self.path.name if relative else str(self.path),
            "rowCount": self.row_count,
            "isTestFile": self.is_test_file,
            "audienceType": self.audience_type,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class Step:
    """One thing done on the server. `rows` is None where none were made; time in milliseconds."""

    name: str
    kind: StepKind
    rows: int | None
    milliseconds: int

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "rowCount": self.rows,
            "executionTimeMs": self.milliseconds,
        }


@dataclass(frozen=True)
class FunnelCount:
    """Rows at one point of the funnel, in total and by kind."""

    label: str
    total: int
    by_kind: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        return {"label": self.label, "total": self.total, "byKind": self.by_kind}


@dataclass(frozen=True)
class TypeFailure:
    """Why one audience type was not published, and where in models/ the reason lies."""

    audience_type: str
    message: str
    location: Location | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "audienceType": self.audience_type,
            "message": self.message,
            **location_json(self.location),
        }


def location_json(location: Location | None) -> dict[str, Any]:
    """A place for machines: path, line, column, and the source lines around it."""
    if location is None:
        return {"path": None, "line": None, "column": None, "excerpt": None}
    return {
        "path": str(location.path),
        "line": location.line,
        "column": location.column,
        "excerpt": location.excerpt(),
    }


@dataclass(frozen=True)
class DataTestResult:
    """What a data test found. `failures` counts rows as dbt does: of a unique test the values that
    are there more than once, of accepted_values the values that are not accepted. With an `error`
    the test could not be run."""

    name: str
    reads: tuple[str, ...]
    column: str | None
    status: TestStatus
    failures: int
    location: Location
    audience_types: tuple[str, ...]
    error: str | None = None

    @property
    def in_words(self) -> str:
        """What was found, without a word about anybody."""
        if self.error is not None:
            return self.error
        rows = f"{self.failures:,} failing row{'' if self.failures == 1 else 's'}"
        return f"{rows} of {', '.join(self.reads)}"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "models": list(self.reads),
            "column": self.column,
            "status": self.status,
            "failures": self.failures,
            "path": str(self.location.path),
            "line": self.location.line,
            "audienceTypes": list(self.audience_types),
            "error": self.error,
        }


@dataclass(frozen=True)
class Attempt:
    """One try at the whole run. `reason` is why it failed; then milliseconds until the next."""

    started_at: datetime
    reason: str | None = None
    sqlstate: str | None = None
    waited_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "startedAt": instant(self.started_at),
            "reason": self.reason,
            "sqlstate": self.sqlstate,
            "waitedMs": self.waited_ms,
        }


@dataclass(frozen=True)
class LegacyCommand:
    """The old engine's command as it was run; `exit_code` is None if it never ended by itself."""

    command: tuple[str, ...]
    exit_code: int | None

    def as_json(self) -> dict[str, Any]:
        return {"command": list(self.command), "exitCode": self.exit_code}


@dataclass(frozen=True)
class RunIdentity:
    """What is known before anything is read."""

    run_id: str
    audience: str
    target: str
    started_at: datetime
    parameters: CheckedParameters
    project_version: str
    models_hash: str
    automation_id: str | None
    is_dry_run: bool
    engine: str
    accepted_size: str | None = None
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def in_words(self) -> str:
        """Which run this is, for the first line of its log."""
        window = self.parameters.window
        span = f", window from {instant(window.start)} to {instant(window.end)}" if window else ""
        engine = f"engine {self.engine} ({ENGINES[self.engine]})"
        return f"{self.audience} with {engine} on target {self.target}, run {self.run_id}{span}"

    @property
    def parameters_json(self) -> dict[str, Any]:
        """The parameters as a manifest has them."""
        return {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in self.parameters.values.items()
        }

    def as_json(self) -> dict[str, Any]:
        window = self.parameters.window
        return {
            "runId": self.run_id,
            "audience": self.audience,
            "automationId": self.automation_id,
            "target": self.target,
            "dryRun": self.is_dry_run,
            "engine": self.engine,
            "acceptedSize": self.accepted_size,
            "startedAt": instant(self.started_at),
            "asOf": instant(self.parameters.as_of),
            "window": {"start": instant(window.start), "end": instant(window.end)}
            if window
            else None,
            "parameters": self.parameters_json,
            "projectVersion": self.project_version,
            "modelsHash": self.models_hash,
            "host": self.host,
            "pid": self.pid,
        }


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run. `audience_size` counts rows of production files after the filter."""

    status: Status
    identity: RunIdentity | None = None
    csv_files: tuple[CsvFile, ...] = ()
    rows_by_type: dict[str, int] = field(default_factory=dict)
    execution_time_ms: int = 0
    error: str | None = None
    failures: tuple[TypeFailure, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    funnel: tuple[FunnelCount, ...] = ()
    data_tests: tuple[DataTestResult, ...] = ()
    size_guards: tuple[dict[str, Any], ...] = ()
    working_tables: str | None = None
    manifest: Path | None = None
    legacy: LegacyCommand | None = None

    @property
    def success(self) -> bool:
        return self.status in (*PUBLISHED, "no_activity")

    @property
    def audience_size(self) -> int:
        return sum(self.rows_by_type.values())

    @property
    def exit_code(self) -> int:
        return {"failed": EXIT_FAILED, "partial": EXIT_PARTIAL}.get(self.status, EXIT_DONE)

    def as_json(self, *, relative: bool = False) -> dict[str, Any]:
        """The result as one JSON document; `relative` gives file names only, for the manifest."""
        identity = self.identity.as_json() if self.identity else {}
        document: dict[str, Any] = {
            "success": self.success,
            "status": self.status,
            "csvFiles": [file.as_json(relative=relative) for file in self.csv_files],
            "audienceSize": self.audience_size,
            "executionTimeMs": self.execution_time_ms,
            "error": self.error,
            "metadata": {
                **identity,
                "reason": "no_activity" if self.status == "no_activity" else None,
                "rowsByType": self.rows_by_type,
                "funnel": [count.as_json() for count in self.funnel],
                "dataTests": [test.as_json() for test in self.data_tests],
                "sizeGuards": list(self.size_guards),
                "attempts": [attempt.as_json() for attempt in self.attempts],
                "steps": [step.as_json() for step in self.steps],
                "workingTables": self.working_tables,
                "legacy": self.legacy.as_json() if self.legacy else None,
                "errors": [failure.as_json() for failure in self.failures],
                "manifest": None if relative or not self.manifest else str(self.manifest),
            },
        }
        redacted: dict[str, Any] = redacted_document(document)
        return redacted
