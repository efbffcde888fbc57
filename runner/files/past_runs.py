"""The runs that left a manifest, read with care: anybody may put a file into an output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from runner.files.manifest import Instant

NEWEST = 100
"""Runs that are read, by their names, which hold their time."""
LARGEST_BYTES = 4 << 20


Count = Annotated[int, Field(ge=0, le=10**15)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Read(BaseModel):
    """Takes what it knows and leaves the rest: manifests say more than is shown."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class PastCount(_Read):
    """Rows at one point of the funnel."""

    label: Name
    total: Count
    by_kind: dict[Name, Count] = Field(default={}, alias="byKind")


class PastRun(_Read):
    """What a manifest says of its run. Sizes in rows, time in milliseconds."""

    audience: Name = Field(validation_alias=AliasPath("metadata", "audience"))
    started_at: Instant = Field(validation_alias=AliasPath("metadata", "startedAt"))
    as_of: Instant = Field(validation_alias=AliasPath("metadata", "asOf"))
    target: Name = Field(validation_alias=AliasPath("metadata", "target"))
    models_hash: Name = Field(validation_alias=AliasPath("metadata", "modelsHash"))
    status: Name
    size: Count | None = Field(default=None, alias="audienceSize")
    milliseconds: Count | None = Field(default=None, alias="executionTimeMs")
    rows_by_type: dict[Name, Count] = Field(
        default={}, validation_alias=AliasPath("metadata", "rowsByType")
    )
    funnel: list[PastCount] = Field(default=[], validation_alias=AliasPath("metadata", "funnel"))


@dataclass(frozen=True)
class SkippedFile:
    """A file that is named like a manifest and is none, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PastRuns:
    """An audience's runs, oldest first; what was skipped; how many older ones were not read."""

    runs: tuple[PastRun, ...]
    skipped: tuple[SkippedFile, ...]
    older: int


def past_runs(folder: Path, audience: str) -> PastRuns:
    """The newest runs with a manifest in `folder`. Never raises for what is or is not there."""
    try:
        paths = sorted(folder.glob(f"{audience}_*.json"))
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror}"
        return PastRuns((), (SkippedFile(folder.name, reason),), 0)
    runs: list[PastRun] = []
    skipped: list[SkippedFile] = []
    for path in paths[-NEWEST:]:
        read = _read(path, audience)
        if isinstance(read, PastRun):
            runs.append(read)
        else:
            skipped.append(SkippedFile(path.name, read))
    runs.sort(key=lambda run: run.started_at)
    return PastRuns(tuple(runs), tuple(skipped), max(0, len(paths) - NEWEST))


def _read(path: Path, audience: str) -> PastRun | str:
    """The run, or why there is none. The reason quotes nothing of the file."""
    try:
        if not path.is_file():
            return "is no file"
        if path.stat().st_size > LARGEST_BYTES:
            return f"is larger than {LARGEST_BYTES >> 20} MiB"
        run = PastRun.model_validate_json(path.read_bytes())
    except OSError as problem:
        return f"cannot be read: {problem.strerror}"
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        is_json = first["type"] != "json_invalid"
        return f"is no manifest: {place}: {first['msg']}" if is_json else "is no JSON"
    if run.audience != audience:
        return "is another audience's"
    return run
