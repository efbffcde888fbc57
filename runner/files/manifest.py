"""Manifests and `latest` pointers: their names, how they are replaced, and how they are read.

A manifest is there from the second a run starts. It says `running`, then `publishing` with all
files and hashes before the first of them gets its name, then how the run ended. So a file under
a final name is always listed, with the hash it has.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from runner.errors import AudienceError
from runner.files.document import PUBLISHED, UNFINISHED, Status
from runner.files.folder import NO_LINK, Folder
from runner.files.names import CSV_NAME, MANIFEST_NAME, manifest_name, pointer_name, staging_name

LOCK = "lock"
LONGEST_DOCUMENT = 10_000_000


class BrokenManifest(AudienceError):
    """A manifest or pointer that cannot be read, or is none."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of the calendar") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class _Lenient(BaseModel):
    """What is read of a document; keys that later versions add are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ListedFile(_Lenient):
    """One CSV file as a manifest lists it; `path` is a bare name."""

    path: str = Field(pattern=rf"^{CSV_NAME.pattern}$")
    row_count: int = Field(alias="rowCount", ge=0)
    is_test_file: bool = Field(alias="isTestFile")
    audience_type: str = Field(alias="audienceType")
    size_bytes: int = Field(alias="bytes", ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Origin(_Lenient):
    """Which run it was."""

    run_id: str = Field(alias="runId")
    audience: str
    started_at: Instant = Field(alias="startedAt")
    as_of: Instant = Field(alias="asOf")
    target: str
    accepted_size: str | None = Field(default=None, alias="acceptedSize")
    engine: str = "v2"
    automation_id: str | None = Field(default=None, alias="automationId")
    parameters: dict[str, Any]
    rows_by_type: dict[str, int] = Field(default={}, alias="rowsByType")
    models_hash: str = Field(alias="modelsHash")
    host: str
    pid: int


class Document(_Lenient):
    """What a manifest says."""

    status: Status
    csv_files: list[ListedFile] = Field(alias="csvFiles")
    audience_size: int = Field(alias="audienceSize")
    execution_time_ms: int = Field(alias="executionTimeMs")
    error: str | None
    metadata: Origin


class PointerDocument(_Lenient):
    """What a pointer says: the latest published run of an audience, and its files."""

    audience: str
    timestamp: str
    run_id: str = Field(alias="runId")
    status: Literal["success", "partial"]
    manifest: str = Field(pattern=rf"^{MANIFEST_NAME.pattern}$")
    csv_files: list[ListedFile] = Field(alias="csvFiles")


@dataclass(frozen=True)
class Manifest:
    """One manifest in a folder. `raw` is the whole document."""

    audience: str
    timestamp: str
    raw: Mapping[str, Any]
    document: Document

    @property
    def name(self) -> str:
        return manifest_name(self.audience, self.timestamp)

    @property
    def is_published(self) -> bool:
        return self.document.status in PUBLISHED

    @property
    def is_unfinished(self) -> bool:
        """Nobody has written the end of this run: it lives, or it died."""
        return self.document.status in UNFINISHED


def names_of_manifests(folder: Folder, audience: str | None = None) -> list[str]:
    """Those of an audience, or of all, newest first."""
    found = [match for name in folder.names() if (match := MANIFEST_NAME.fullmatch(name))]
    mine = [match for match in found if audience in (None, match[1])]
    return [
        match[0] for match in sorted(mine, key=lambda match: (match[2], match[1]), reverse=True)
    ]


def read_manifest(folder: Folder, name: str) -> Manifest:
    """Raises `BrokenManifest`, which names it, for whatever is not one, and if it is gone."""
    match = MANIFEST_NAME.fullmatch(name)
    raw = read_json(folder, name)
    document = checked(Document, raw, where=str(folder.path / name))
    if match is None or document.metadata.audience != match[1]:
        raise BrokenManifest("is not the manifest of its name", where=str(folder.path / name))
    if any(CSV_NAME.fullmatch(file.path)[1] != match[2] for file in document.csv_files):  # type: ignore[index]
        raise BrokenManifest("lists files of another run", where=str(folder.path / name))
    return Manifest(match[1], match[2], raw, document)


def readable_manifests(folder: Folder, audience: str | None = None) -> Iterator[Manifest]:
    """All but the broken ones, newest first."""
    for name in names_of_manifests(folder, audience):
        try:
            yield read_manifest(folder, name)
        except BrokenManifest:
            continue


def read_pointer(folder: Folder, audience: str) -> PointerDocument | None:
    """None if the audience has published nothing here. Raises `BrokenManifest`."""
    name = pointer_name(audience)
    if folder.status(name) is None:
        return None
    pointer = checked(PointerDocument, read_json(folder, name), where=str(folder.path / name))
    if pointer.manifest != manifest_name(audience, pointer.timestamp):
        raise BrokenManifest("is not the pointer of its name", where=str(folder.path / name))
    return pointer


def read_json(folder: Folder, name: str) -> dict[str, Any]:
    where = str(folder.path / name)
    try:
        with folder.reading(name) as file:
            document = json.loads(file.read(LONGEST_DOCUMENT))
    except OSError as problem:
        raise BrokenManifest(
            f"cannot be read: {problem.strerror or problem}", where=where
        ) from None
    except (ValueError, RecursionError):
        raise BrokenManifest("is no JSON document", where=where) from None
    if not isinstance(document, dict):
        raise BrokenManifest("is no JSON object", where=where)
    return document


AnyDocument = TypeVar("AnyDocument", bound=_Lenient)


def checked(model: type[AnyDocument], raw: object, where: str) -> AnyDocument:
    """`raw` as a document of that kind. Raises `BrokenManifest` for the first misfit."""
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BrokenManifest(f"{place}: {first['msg']}", where=where) from None


def replace(folder: Folder, staging: Folder, name: str, document: Mapping[str, Any]) -> None:
    """Write a document in the place of another, all at once: a reader sees the old or the new.

    It is on disk before it gets its name, and the name before this returns. Raises `ExportError`.
    """
    stage(staging, name, document)
    staging.move(name, folder)
    folder.flush()


def stage(staging: Folder, name: str, document: Mapping[str, Any]) -> None:
    staging.remove(name)
    with staging.writing(name) as file:
        file.write(
            json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )


def pointer_to(audience: str, timestamp: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """What `<audience>.latest.json` says of a published run's manifest."""
    metadata = document["metadata"]
    return {
        "audience": audience,
        "timestamp": timestamp,
        "runId": metadata["runId"],
        "status": document["status"],
        "startedAt": metadata["startedAt"],
        "asOf": metadata["asOf"],
        "manifest": manifest_name(audience, timestamp),
        "csvFiles": document["csvFiles"],
    }


def is_alive(folder: Folder, audience: str, timestamp: str) -> bool:
    """Whether the run of that second still has the lock that the kernel takes from the dead.

    Who may not look into its staging folder cannot tell, and takes it for alive.
    """
    try:
        with folder.below(staging_name(audience, timestamp)) as staging:
            descriptor = os.open(LOCK, os.O_RDONLY | NO_LINK, dir_fd=staging.descriptor)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
