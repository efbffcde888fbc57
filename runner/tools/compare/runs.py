"""Finds the files that are compared: from a manifest, a pointer, a folder of runs or a CSV file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError, did_you_mean
from runner.files.document import BrokenManifest, CsvFile, Pointer, RunResult
from runner.files.manifest import read_document
from runner.files.names import NamedCsv, csv_named, timestamp_given


@dataclass(frozen=True)
class Run:
    """A run that is compared, with its files by label. `source` describes which run was taken;
    `is_single_file` means that a CSV file was given instead of a run."""

    given: Path
    source: str
    files: dict[str, NamedCsv]
    is_single_file: bool = False


def read_run(given: Path, *, with_test_files: bool) -> Run:
    """The run that a path names.

    A folder names the newest run in it, FOLDER/TIMESTAMP the run of that time. Raises `UsageError`
    if there is nothing to compare.
    """
    # Path.is_dir and Path.is_file raise if a name is too long
    if os.path.isdir(given):  # noqa: PTH112
        return _in_folder(given, given, None, with_test_files=with_test_files)
    is_file = os.path.isfile(given)  # noqa: PTH113
    if is_file and given.suffix == ".json":
        return _of_manifest(given, with_test_files=with_test_files)
    if is_file:
        file = csv_named(given) or NamedCsv(given, given.name, False, None)
        return Run(given, str(given), {file.label: file}, is_single_file=True)
    timestamp = timestamp_given(given.name)
    if timestamp and os.path.isdir(given.parent):  # noqa: PTH112
        return _in_folder(given, given.parent, timestamp, with_test_files=with_test_files)
    raise UsageError(
        "there is no such file or folder",
        where=str(given),
        fix="give a folder, FOLDER/TIMESTAMP, a manifest or a CSV file",
    )


def _in_folder(given: Path, folder: Path, wanted: str | None, *, with_test_files: bool) -> Run:
    found = [file for path in _files_in(folder) if (file := csv_named(path))]
    if not found:
        raise UsageError(
            "there is no CSV file in this folder",
            where=str(folder),
            fix="give the folder that contains a run's files, or a manifest",
        )
    runs = sorted({file.timestamp or "" for file in found})
    if wanted is not None and wanted not in runs:
        raise UsageError(
            f"there is no run {wanted} in this folder",
            where=str(folder),
            fix=did_you_mean(wanted, filter(None, runs)),
        )
    chosen = runs[-1] if wanted is None else wanted
    newest = f", the newest of {len(runs)}" if len(runs) > 1 and wanted is None else ""
    source = f"{folder}, run {chosen}{newest}" if chosen else str(folder)
    files = [file for file in found if (file.timestamp or "") == chosen]
    return _run(given, source, files, with_test_files=with_test_files)


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as problem:
        what = f"cannot be read: {problem.strerror}"
        raise UsageError(what, where=str(folder), fix="allow this user to read it") from None


def _of_manifest(given: Path, *, with_test_files: bool) -> Run:
    manifest, document = given, _read(given)
    if isinstance(document, Pointer):
        manifest = given.parent / document.manifest
        document = _read(manifest)
    if not document.csv_files:
        raise UsageError(
            "this document lists no csvFiles",
            where=str(manifest),
            fix="give the manifest of a run that published files",
        )
    files = [_listed(manifest, file) for file in document.csv_files]
    source = str(given) if manifest == given else f"{given}, which names {manifest.name}"
    return _run(given, source, files, with_test_files=with_test_files)


def _read(path: Path) -> RunResult | Pointer:
    """A manifest, a pointer or a saved result. Raises `UsageError`."""
    try:
        return read_document(path)
    except BrokenManifest as problem:
        raise UsageError(problem.what, where=str(path), fix="give a run's manifest") from None


def _listed(manifest: Path, listed: CsvFile) -> NamedCsv:
    # a manifest has bare names, a saved result has paths
    paths = (manifest.parent / listed.path, listed.path)
    path = next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113
    if path is None:
        raise UsageError(
            f"lists {str(listed.path)!r}, which does not exist",
            where=str(manifest),
            fix="keep a run's files beside its manifest",
        )
    return csv_named(path) or NamedCsv(path, path.name, False, None)


def _run(given: Path, source: str, files: list[NamedCsv], *, with_test_files: bool) -> Run:
    by_label: dict[str, NamedCsv] = {}
    for file in files:
        if file.is_test and not with_test_files:
            continue
        other = by_label.setdefault(file.label, file)
        if other is not file:
            raise UsageError(
                f"this run has two files for {file.label}",
                where=str(file.path),
                looked_at=f"the other is {other.path}",
                fix="keep the runs of two engines in two folders",
            )
    if not by_label:
        raise UsageError(
            "there are only test files in this run", where=source, fix="add --test-files"
        )
    return Run(given, source, by_label)
