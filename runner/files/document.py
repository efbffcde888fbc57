"""The run document: what `run` returns, what `--json` prints and what a manifest holds.

It is written and read back by the same classes. Keys that a later version added are kept when a
document is read and written again, and keys that an earlier version did not know have a default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from runner.clock import instant
from runner.errors import EXIT_DONE, EXIT_FAILED, EXIT_PARTIAL, AudienceError, Location
from runner.files.names import RunName
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
DIED = "the run died before its end: it was killed, or the machine stopped; nothing is published"


class BrokenManifest(AudienceError):
    """A manifest or pointer that cannot be read, or that is none."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of the calendar") from None


def _encodable(text: object) -> object:
    """Names of files may hold bytes that are not UTF-8, and messages name files."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def _manifest_name(name: str) -> str:
    if RunName.from_manifest(name) is None:
        raise ValueError("is no name of a manifest")
    return name


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Text = Annotated[str, BeforeValidator(_encodable)]

_KEYS = {
    "size_bytes": "bytes",
    "rows": "rowCount",
    "milliseconds": "executionTimeMs",
    "reads": "models",
    "is_dry_run": "dryRun",
}


def _key(name: str) -> str:
    """The JSON key of a field."""
    first, *others = name.split("_")
    return _KEYS.get(name) or first + "".join(map(str.title, others))


class Part(BaseModel):
    """A JSON object of the document. It is built when it is first used, not at every start."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        strict=True,
        alias_generator=_key,
        populate_by_name=True,
        allow_inf_nan=False,
        defer_build=True,
    )

    def as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = _plain(self.model_dump(by_alias=True))
        return document


def _plain(value: Any) -> Any:
    """What `json` can write."""
    match value:
        case dict():
            return {key: _plain(below) for key, below in value.items()}
        case list() | tuple():
            return [_plain(below) for below in value]
        case datetime():
            return instant(value)
        case Path():
            return str(value)
    return value


class CsvFile(Part):
    """One file as it was streamed. `path` is its final name; sizes in bytes, header included."""

    path: Path
    row_count: Count
    is_test_file: bool
    audience_type: str
    size_bytes: Count
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Step(Part):
    """One thing done on the server. `rows` is None where none were made."""

    name: Text
    kind: str
    rows: Count | None
    milliseconds: Count


class FunnelCount(Part):
    """Rows at one point of the funnel, in total and by kind."""

    label: Text
    total: Count
    by_kind: dict[str, Count] = {}


class TypeFailure(Part):
    """Why one audience type was not published, and where in models/ the reason lies."""

    audience_type: str
    message: Text
    path: Text | None = None
    line: Count | None = None
    column: Count | None = None
    excerpt: Text | None = None

    @classmethod
    def at(cls, location: Location | None, audience_type: str, message: str) -> TypeFailure:
        place: dict[str, Any] = {}
        if location is not None:
            place = {"path": str(location.path), "line": location.line, "column": location.column}
            place["excerpt"] = location.excerpt()
        return cls(audience_type=audience_type, message=message, **place)

    @property
    def location(self) -> Location | None:
        return None if self.path is None else Location(Path(self.path), self.line, self.column)


class DataTestResult(Part):
    """What a data test found. `failures` counts rows as dbt does: of a unique test the values that
    are there more than once, of accepted_values the values that are not accepted. With an `error`
    the test could not be run."""

    name: Text
    reads: tuple[str, ...]
    column: str | None
    status: str
    failures: Count
    path: Text
    line: Count | None
    audience_types: tuple[str, ...]
    error: Text | None = None
    _location: Location | None = PrivateAttr(default=None)

    @classmethod
    def at(cls, location: Location, **found: Any) -> DataTestResult:
        """The result of a test that is declared there."""
        result = cls(path=str(location.path), line=location.line, **found)
        result._location = location
        return result

    @property
    def location(self) -> Location:
        """Where the test is declared; with the text of that file if the test was just run."""
        return self._location or Location(Path(self.path), self.line)

    @property
    def in_words(self) -> str:
        """What was found, without a word about anybody."""
        if self.error is not None:
            return self.error
        rows = f"{self.failures:,} failing row{'' if self.failures == 1 else 's'}"
        return f"{rows} of {', '.join(self.reads)}"


class SizeGuardResult(Part):
    """What a size guard found for one file. `reason` is why it stops the file, in numbers; `median`
    is of the rows of the published `runs` that it was compared with."""

    audience_type: str
    rows: Count
    median: int | float | None
    runs: Count
    verdict: str
    reason: Text | None = None


class Attempt(Part):
    """One try at the whole run. `reason` is why it failed; then milliseconds until the next."""

    started_at: Instant
    reason: Text | None = None
    sqlstate: str | None = None
    waited_ms: Count = 0


class LegacyCommand(Part):
    """The old engine's command as it was run; `exit_code` is None if it never ended by itself."""

    command: tuple[Text, ...]
    exit_code: int | None


class Span(Part):
    """The window of a run: from `start` on, up to but not at `end`."""

    start: Instant
    end: Instant


class RunIdentity(Part):
    """Which run it is: what is known before anything is read."""

    run_id: str
    audience: str
    automation_id: str | None = None
    target: str
    is_dry_run: bool = False
    engine: str = "v2"
    accepted_size: str | None = None
    started_at: Instant
    as_of: Instant
    window: Span | None = None
    parameters: dict[str, Any]
    project_version: str | None = None
    models_hash: str
    host: str | None = None
    pid: int | None = None

    @property
    def in_words(self) -> str:
        """Which run this is, for the first line of its log."""
        window = self.window
        span = f", window from {instant(window.start)} to {instant(window.end)}" if window else ""
        engine = f"engine {self.engine} ({ENGINES[self.engine]})"
        return f"{self.audience} with {engine} on target {self.target}, run {self.run_id}{span}"


class Metadata(RunIdentity):
    """Which run it is, and how it went."""

    reason: str | None = None
    rows_by_type: dict[str, Count] = {}
    funnel: tuple[FunnelCount, ...] = ()
    data_tests: tuple[DataTestResult, ...] = ()
    size_guards: tuple[SizeGuardResult, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    working_tables: str | None = None
    legacy: LegacyCommand | None = None
    errors: tuple[TypeFailure, ...] = ()
    manifest: Path | None = None


class RunResult(Part):
    """The outcome of a run. `audience_size` counts rows of production files after the filter."""

    success: bool
    status: Status
    csv_files: tuple[CsvFile, ...]
    audience_size: Count
    execution_time_ms: Count
    error: Text | None
    metadata: Metadata

    @classmethod
    def of(
        cls,
        status: Status,
        metadata: Metadata,
        *,
        csv_files: tuple[CsvFile, ...] = (),
        execution_time_ms: int = 0,
        error: str | None = None,
    ) -> RunResult:
        return cls(
            success=_is_success(status),
            status=status,
            csv_files=csv_files,
            audience_size=sum(metadata.rows_by_type.values()),
            execution_time_ms=execution_time_ms,
            error=error,
            metadata=metadata,
        )

    @property
    def exit_code(self) -> int:
        return {"failed": EXIT_FAILED, "partial": EXIT_PARTIAL}.get(self.status, EXIT_DONE)

    def with_status(self, status: Status) -> RunResult:
        """The same run, further on."""
        return self.model_copy(update={"status": status, "success": _is_success(status)})

    def without_files(self, status: Status, error: str) -> RunResult:
        """The same run, after which nothing is published."""
        return self.with_status(status).model_copy(
            update={
                "csv_files": (),
                "audience_size": 0,
                "error": error,
                "metadata": self.metadata.model_copy(update={"rows_by_type": {}}),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """The result as one JSON document, without secrets."""
        document: dict[str, Any] = redacted_document(super().as_json())
        return document

    def as_manifest(self) -> dict[str, Any]:
        """The same as its manifest has it: names instead of paths, as folders may be moved."""
        return self.model_copy(
            update={
                "csv_files": tuple(_bare(self.csv_files)),
                "metadata": self.metadata.model_copy(update={"manifest": None}),
            }
        ).as_json()


def failure_json(error: str) -> dict[str, Any]:
    """The result of a run that failed before anything was known of it, without secrets."""
    result = RunResult.model_construct(
        success=False,
        status="failed",
        csv_files=(),
        audience_size=0,
        execution_time_ms=0,
        error=error,
        metadata=Metadata.model_construct(),
    )
    known = result.model_dump(by_alias=True, exclude={"metadata": set(RunIdentity.model_fields)})
    document: dict[str, Any] = redacted_document(_plain(known))
    return document


class Pointer(Part):
    """A `latest` pointer: the latest published run of an audience, and its files."""

    audience: str
    timestamp: str
    run_id: str
    status: Literal["success", "partial"]
    started_at: Instant
    as_of: Instant
    manifest: Annotated[str, AfterValidator(_manifest_name)]
    csv_files: tuple[CsvFile, ...]

    @classmethod
    def to(cls, run: RunName, result: RunResult) -> Pointer:
        """The pointer to a published run."""
        assert result.status == "success" or result.status == "partial"
        return cls(
            audience=run.audience,
            timestamp=run.timestamp,
            run_id=result.metadata.run_id,
            status=result.status,
            started_at=result.metadata.started_at,
            as_of=result.metadata.as_of,
            manifest=run.manifest,
            csv_files=tuple(_bare(result.csv_files)),
        )


def _is_success(status: Status) -> bool:
    return status in (*PUBLISHED, "no_activity")


def _bare(files: tuple[CsvFile, ...]) -> Iterator[CsvFile]:
    for file in files:
        yield file.model_copy(update={"path": Path(file.path.name)})


AnyDocument = TypeVar("AnyDocument", bound=Part)


def parsed(kind: type[AnyDocument], content: bytes, where: str) -> AnyDocument:
    """A document of that kind. Raises `BrokenManifest` with the first thing that is wrong."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as problem:
        raise BrokenManifest(_in_words(problem.errors(include_url=False)[0]), where=where) from None


def _in_words(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"is no JSON document: {problem['ctx']['error']}"
    if not problem["loc"]:
        return "is no JSON object"
    place = ".".join(map(str, problem["loc"]))
    return f"{place if place.isprintable() else ascii(place)}: {problem['msg']}"
