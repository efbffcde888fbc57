"""The specs' case tables: rows made by hand, and the whole files that they must give."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cases import Case, assert_equal, cases, load_edge_case, parsed
from tests.support import EDGE_CASES, Database, run_audience


@pytest.mark.parametrize("case", cases(EDGE_CASES))
def test_the_rows_of_the_case_table_give_its_files(
    database: Database, tmp_path: Path, case: Case
) -> None:
    load_edge_case(database, case.folder.parent.name)
    result = run_audience(
        database, tmp_path, case.audience.name, as_of=case.as_of, **case.parameters
    )
    assert_equal(case, result)


def by_hand() -> Iterator[Any]:
    """Users in order by file, for each case of what was worked out by hand."""
    for path in sorted(EDGE_CASES.glob("*.expected.txt")):
        name, files = "", {}
        for line in path.read_text().splitlines():
            first, *others = line.split()
            if first == "case":
                name, files = "__".join(others).replace("=", "_"), defaultdict(list)
                folder = EDGE_CASES / path.name.removesuffix(".expected.txt") / name
                yield pytest.param(folder, files, id=f"{folder.parent.name}-{name}")
            elif first == "file":
                users = files[others[0]]
            elif first != "#":
                users.append(first)


@pytest.mark.parametrize(("folder", "files"), list(by_hand()))
def test_the_files_hold_the_users_that_were_worked_out_by_hand(
    folder: Path, files: dict[str, list[str]]
) -> None:
    for name, users in files.items():
        rows = parsed(folder / f"{name}.csv")[1:]
        assert [re.sub(r"^a0*(\d+)-.*", r"u\1", row[0]) for row in rows] == users
