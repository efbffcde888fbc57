"""Cases of audiences that were made elsewhere: parameters, the whole files and counts of a run.

`tests/golden/<audience>/<case>/` is for the golden data, `tests/edge_cases/<audience>/<case>/` for
the rows of `tests/edge_cases/<audience>.sql`. A case's name lists the parameters that differ from
the defaults.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runner.files.document import RunResult
from runner.project.audience import Audience
from runner.project.load import load_project
from runner.project.nodes import Project
from tests.support import AS_OF, EDGE_CASES, GOLDEN, ROOT, Database

ABBREVIATIONS = {"lookback": "lookback_hours", "cooling": "cooling_hours"}
AS_OF_FORMAT = "%Y%m%dT%H%M%SZ"
LEFT_OUT, BEFORE_CADENCE = "left out by cadence", "rows before cadence"
"""What a funnel without cadence has no step for: nobody; and what no funnel has a step for."""


@cache
def shipped() -> Project:
    return load_project(ROOT)


@dataclass(frozen=True)
class Case:
    """One folder of expected files."""

    audience: Audience
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.audience.name}-{self.folder.name}"

    @property
    def as_of(self) -> datetime:
        text = self._given.get("as_of")
        return datetime.strptime(text, AS_OF_FORMAT).replace(tzinfo=UTC) if text else AS_OF

    @property
    def parameters(self) -> dict[str, str]:
        return {
            ABBREVIATIONS.get(name, name): value
            for name, value in self._given.items()
            if name != "as_of"
        }

    @property
    def _given(self) -> dict[str, str]:
        """The pairs in the folder's name, which may hold `_` in names and in values."""
        if self.folder.name == "defaults":
            return {}
        declared = [parameter.name for parameter in self.audience.parameters]
        names = "|".join(["as_of", *declared, *ABBREVIATIONS])
        pair = rf"(?:^|_+)({names})_(.+?)(?=_+(?:{names})_|$)"
        found = re.findall(pair, self.folder.name)
        assert "_".join(map("_".join, found)) == self.folder.name.replace("__", "_"), (
            f"{self.folder} names something that is no parameter of {self.audience.name}"
        )
        return dict(found)

    @property
    def files(self) -> dict[str, list[list[str]]]:
        """The rows of each expected file, header first, by its name without the time."""
        return {path.stem: parsed(path) for path in sorted(self.folder.glob("*.csv"))}

    @property
    def funnel(self) -> dict[str, Any] | None:
        path = self.folder / "funnel.json"
        return json.loads(path.read_text()) if path.exists() else None


def cases(folder: Path) -> list[Any]:
    """Parameters of a test: the cases of every audience that has a folder here."""
    found = []
    for audience in shipped().audiences.values():
        for path in sorted((folder / audience.name.replace("-", "_")).glob("*/")):
            needs_cadence = "apply_cadence" in path.name and not audience.parameter("apply_cadence")
            skip = pytest.mark.skip(reason=f"{audience.name} has no parameter apply_cadence")
            case = Case(audience, path)
            marks = [skip] if needs_cadence else []
            found.append(pytest.param(case, id=case.name, marks=marks))
    return found


def golden_case(audience: str, name: str) -> Case:
    return Case(shipped().audience(audience), GOLDEN / audience.replace("-", "_") / name)


def load_edge_case(database: Database, name: str) -> None:
    """The rows of one SQL file behind those that all share."""
    for path in (EDGE_CASES / "helpers.sql", EDGE_CASES / f"{name}.sql"):
        lines = path.read_text().splitlines()
        database.execute("\n".join(line for line in lines if not line.startswith("\\")))


def parsed(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def assert_equal(case: Case, result: RunResult) -> None:
    """Files, rows, their order and the funnel are those of the case."""
    status = (case.funnel or {}).get("status", "success")
    assert result.status == status, result.error
    assert_files_equal(case, result.csv_files[0].path.parent if result.csv_files else None)
    if case.funnel is not None and status == "success":
        assert_funnel_equal(case.funnel, result)


def assert_files_equal(case: Case, folder: Path | None) -> None:
    """A run's folder holds the case's files and no other; `None` is that of a run without files."""
    paths = sorted(folder.glob("*.csv")) if folder else []
    made = {path.stem.rsplit("_", 1)[0]: parsed(path) for path in paths}
    expected = case.files
    assert set(made) == set(expected)
    for name, rows in expected.items():
        if name.endswith("_TEST"):
            for place, column in enumerate(rows[0]):
                if column in case.audience.test_row.run_start:  # the moment of each run
                    rows[1][place] = made[name][1][place]
        assert made[name] == rows, name


def assert_funnel_equal(expected: dict[str, Any], result: RunResult) -> None:
    """Each count of the case is in the run's funnel, and `rows` in its files."""
    made = {count.label: _counted(count.by_kind or count.total) for count in result.metadata.funnel}
    rows = {
        file.audience_type: file.row_count for file in result.csv_files if not file.is_test_file
    }
    made |= {"rows": _counted(rows), LEFT_OUT: made.get(LEFT_OUT, 0)}
    for label, count in expected.items():
        if label != BEFORE_CADENCE:
            assert made.get(label) == _counted(count), label


def _counted(count: int | Mapping[str, int]) -> int | dict[str, int]:
    """A count by kind without the kinds that no row has; 0 if none has one."""
    if isinstance(count, int):
        return count
    return {kind: rows for kind, rows in count.items() if rows} or 0
