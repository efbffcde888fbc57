"""What can be compared: a run's manifest, a pointer to one, a folder of runs, or one CSV file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import Location, UsageError, did_you_mean
from runner.files.names import NamedCsv, csv_named

_TIMESTAMP = re.compile(r"(\d{8})[T_](\d{6})")


@dataclass(frozen=True)
class Side:
    """One side of a comparison. `source` says in words which run was taken."""

    given: Path
    source: str
    files: dict[str, NamedCsv]
    is_single: bool = False


def read_side(given: Path, *, with_test_files: bool) -> Side:
    """The files that a path means.

    A folder means the newest run in it, FOLDER/TIMESTAMP another one. Raises `UsageError` if
    there is nothing to compare.
    """
    # not Path's own: they raise if a name is too long
    if os.path.isdir(given):  # noqa: PTH112
        return _run_of(given, given, None, with_test_files=with_test_files)
    is_file = os.path.isfile(given)  # noqa: PTH113
    if is_file and given.suffix == ".json":
        return _of_manifest(given, with_test_files=with_test_files)
    if is_file:
        file = csv_named(given) or NamedCsv(given, given.name, False, None)
        return Side(given, str(given), {file.label: file}, is_single=True)
    wanted = _TIMESTAMP.fullmatch(given.name)
    if wanted and os.path.isdir(given.parent):  # noqa: PTH112
        timestamp = "T".join(wanted.groups())
        return _run_of(given, given.parent, timestamp, with_test_files=with_test_files)
    raise UsageError(
        "there is nothing of this name",
        where=str(given),
        mend="give a folder, FOLDER/TIMESTAMP, a manifest or a CSV file",
    )


def _run_of(given: Path, folder: Path, wanted: str | None, *, with_test_files: bool) -> Side:
    found = [file for path in _files_in(folder) if (file := csv_named(path))]
    if not found:
        raise UsageError(
            "there is no CSV file in this folder",
            where=str(folder),
            mend="give the folder that holds a run's files, or a manifest",
        )
    runs = sorted({file.timestamp or "" for file in found})
    if wanted is not None and wanted not in runs:
        raise UsageError(
            f"there is no run {wanted} in this folder",
            where=str(folder),
            mend=did_you_mean(wanted, filter(None, runs)),
        )
    chosen = runs[-1] if wanted is None else wanted
    newest = f", the newest of {len(runs)}" if len(runs) > 1 and wanted is None else ""
    source = f"{folder}, run {chosen}{newest}" if chosen else str(folder)
    files = [file for file in found if (file.timestamp or "") == chosen]
    return _side(given, source, files, with_test_files=with_test_files)


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as problem:
        what = f"cannot be read: {problem.strerror}"
        raise UsageError(what, where=str(folder), mend="let this user read it") from None


def _of_manifest(given: Path, *, with_test_files: bool) -> Side:
    document = _read_json(given)
    pointer = document.get("manifest")
    manifest = given.parent / pointer if isinstance(pointer, str) and pointer else given
    if manifest != given:
        document = _read_json(manifest)
    listed = document.get("csvFiles")
    if not isinstance(listed, list) or not listed:
        raise UsageError(
            "this document lists no csvFiles",
            where=str(manifest),
            mend="give the manifest of a run that published files",
        )
    files = [_listed(manifest, one) for one in listed]
    source = str(given) if manifest == given else f"{given}, which names {manifest.name}"
    return _side(given, source, files, with_test_files=with_test_files)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        what = f"cannot be read: {problem.strerror}"
        raise UsageError(what, where=str(path), mend="give a run's manifest") from None
    except (ValueError, RecursionError) as problem:
        line = getattr(problem, "lineno", None)
        raise UsageError(
            "this is not JSON", where=Location(path, line), mend="give a run's manifest"
        ) from None
    return document if isinstance(document, dict) else {}


def _listed(manifest: Path, entry: Any) -> NamedCsv:
    name = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.isprintable():
        raise UsageError("an entry of csvFiles has no path", where=str(manifest))
    # a manifest has bare names, a saved result has paths
    paths = (manifest.parent / name, Path(name))
    path = next((one for one in paths if os.path.isfile(one)), None)  # noqa: PTH113
    if path is None:
        raise UsageError(
            f"lists {name!r}, which is not there",
            where=str(manifest),
            mend="keep a run's files beside its manifest",
        )
    return csv_named(path) or NamedCsv(path, path.name, False, None)


def _side(given: Path, source: str, files: list[NamedCsv], *, with_test_files: bool) -> Side:
    by_label: dict[str, NamedCsv] = {}
    for file in files:
        if file.is_test and not with_test_files:
            continue
        other = by_label.setdefault(file.label, file)
        if other is not file:
            raise UsageError(
                f"two files are {file.label} of one run",
                where=str(file.path),
                looked_at=f"the other is {other.path}",
                mend="keep the runs of two engines in two folders",
            )
    if not by_label:
        raise UsageError(
            "there are only test files in this run", where=source, mend="add --test-files"
        )
    return Side(given, source, by_label)
