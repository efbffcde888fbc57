"""What `audiences compare` says of two runs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from runner.cli.app import app
from runner.cli.commands.compare import comparison_text
from runner.errors import AudienceError, UsageError
from runner.files.csv import CsvError
from runner.tools.compare import rows as compared_rows
from runner.tools.compare.compare import compare, out_of_order
from tests.support import GOLDEN, RECORDED_MANIFESTS, ROOT, Database, run_layer3

COLUMNS = ["user_id", "username", "lastActive", "count"]
CASE = GOLDEN / "layer3_behavior" / "lookback_48_cooling_12"
ENGLISH = [["1", "ann", "t1", "5"], ["2", "bob", "t2", "6"], ["3", "cem", "t3", "7"]]


def write(path: Path, rows: list[list[str]], columns: list[str] = COLUMNS, **style: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, **{"lineterminator": "\n", **style}).writerows([columns, *rows])
    return path


def old_style(source: Path, folder: Path, timestamp: str = "20251128_120000") -> Path:
    """A run as the old engine left it: `_` in the time, CRLF, every cell quoted."""
    for path in source.glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            columns, *rows = csv.reader(file)
        name = f"{path.stem.rsplit('_2', 1)[0]}_{timestamp}.csv"
        write(folder / name, rows, columns, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    return folder


def change(path: Path, edit: Any) -> None:
    """Rewrite a file's rows with `edit`, in place, keeping how it is written."""
    text = path.read_bytes()
    with open(path, newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    quoting = csv.QUOTE_ALL if text.startswith(b'"') else csv.QUOTE_MINIMAL
    ending = "\r\n" if b"\r\n" in text else "\n"
    write(path, edit(rows), columns, lineterminator=ending, quoting=quoting)


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


# Equal


def test_a_run_and_the_old_engines_files_of_the_same_users_are_equal_but_for_notes(
    golden: Database, tmp_path: Path
) -> None:
    result = run_layer3(golden, tmp_path / "new")
    old = old_style(CASE, tmp_path / "old")
    assert result.metadata.manifest is not None
    for b in (tmp_path / "new", result.metadata.manifest):
        code, stdout, _ = invoke(old, b, "--json")
        document = json.loads(stdout)
        assert (code, document["equal"]) == (0, True)
        assert document["a"]["rowCount"] == document["b"]["rowCount"] == 216
        for file in document["files"]:
            assert file["notes"][0] == "line ends: CRLF in A, LF in B"
            assert file["notes"][1].startswith("quoting: ")
    assert invoke(old, old)[0] == 0


def test_test_files_are_compared_only_if_asked_and_without_the_moment_of_the_run(
    golden: Database, tmp_path: Path
) -> None:
    run_layer3(golden, tmp_path / "new")
    old = old_style(CASE, tmp_path / "old")
    with_tests = (old, tmp_path / "new", "--test-files", "--project-dir", ROOT, "--json")
    code, stdout, _ = invoke(*with_tests)
    assert code == 0, stdout
    assert len(json.loads(stdout)["files"]) == 6
    change(
        old / "recent-closet-adders_TEST_20251128_120000.csv", lambda rows: [["x", *rows[0][1:]]]
    )
    assert invoke(*with_tests)[0] == 1
    assert invoke(old, tmp_path / "new")[0] == 0


# Different


def test_each_difference_of_an_old_folder_is_named_for_what_it_is(
    golden: Database, tmp_path: Path
) -> None:
    run_layer3(golden, tmp_path / "new")
    old = old_style(CASE, tmp_path / "old")
    closet, offers, wishes = (
        old / f"recent-{name}_20251128_120000.csv"
        for name in ("closet-adders", "offer-creators", "wishlist-adders")
    )
    moved: list[list[str]] = []

    def without_first(rows: list[list[str]]) -> list[list[str]]:
        moved.append(rows[0])
        return rows[1:]

    change(closet, without_first)
    change(offers, lambda rows: [*rows, moved[0]])  # one user has moved
    change(
        wishes, lambda rows: [["new-user", *rows[0][1:]], *rows[2:], rows[1]]
    )  # one new, one gone
    change(offers, lambda rows: [[*rows[0][:3], "99", *rows[0][4:]], *rows[1:]])  # one cell

    found = compare(old, tmp_path / "new")
    by_label = {file.label: file for file in found.files}
    assert not found.is_equal
    assert dict(found.moved) == {("recent-offer-creators", "recent-closet-adders"): 1}
    assert (found.only_a, found.only_b) == (1, 1)
    assert by_label["recent-wishlist-adders"].only_a == 1
    assert by_label["recent-wishlist-adders"].only_b == 1
    assert by_label["recent-wishlist-adders"].out_of_order == 1
    assert by_label["recent-offer-creators"].changed_cells == {"usersize": 1}
    assert by_label["recent-closet-adders"].changed_rows == 0
    assert not by_label["recent-closet-adders"].is_equal, "the user who moved is missing"
    text = comparison_text(found)
    assert "moved    1 from recent-offer-creators to recent-closet-adders" in text
    assert "cells    recent-offer-creators: usersize 1" in text
    assert "are in another place" in text
    assert "new-user" not in text, "users are counted, not named"
    named = comparison_text(compare(old, tmp_path / "new", examples=5))
    assert "user     new-user only in A: recent-wishlist-adders" in named
    assert "usersize '99' in A, " in named


def test_columns_missing_added_and_moved_are_differences_and_not_changed_cells(
    tmp_path: Path,
) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    columns = ["count", "username", "user_id", "size"]
    b = write(tmp_path / "b.csv", [[row[3], row[1], row[0], "9"] for row in ENGLISH], columns)
    found = compare(a, b)
    (file,) = found.files
    assert not found.is_equal
    assert (file.columns_only_a, file.columns_only_b) == (["lastActive"], ["size"])
    assert file.is_column_order_different
    assert (file.common, file.changed_rows) == (3, 0)
    assert compare(a, b, ignored=["lastActive", "size", "count", "username"]).is_equal


def test_an_ignored_column_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    b = write(tmp_path / "b.csv", [[*row[:2], f"{row[2]}0", row[3]] for row in ENGLISH])
    assert invoke(a, b)[0] == 1
    code, stdout, _ = invoke(a, b, "--ignore", "lastActive")
    assert code == 0
    assert stdout.startswith("equal (lastActive ignored)\n")
    assert not compare(a, b, ignored=["count"]).is_equal


def test_order_is_compared_among_common_users_only(tmp_path: Path) -> None:
    one, two, three = ENGLISH
    a = write(tmp_path / "a.csv", [one, two, three])
    new = write(tmp_path / "b.csv", [["0", "new", "", ""], one, three])
    assert compare(a, new).files[0].out_of_order == 0
    turned = write(tmp_path / "c.csv", [three, one, two])
    found = compare(a, turned)
    assert found.files[0].out_of_order == 1
    assert (found.is_equal, found.files[0].changed_rows) == (False, 0)


@given(st.lists(st.integers(0, 30), max_size=8, unique=True))
def test_rows_out_of_order_are_the_fewest_that_must_be_moved(positions: list[int]) -> None:
    best = max(
        sum(1 << n & mask > 0 for n in range(len(positions)))
        for mask in range(1 << len(positions))
        if sorted(chosen := [one for n, one in enumerate(positions) if 1 << n & mask]) == chosen
    )
    assert out_of_order(positions) == len(positions) - best


ROWS = st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("123")), max_size=6)


@given(ROWS, ROWS)
def test_each_row_is_common_moved_extra_or_of_a_user_whom_the_other_run_lacks(
    a: list[tuple[str, str]], b: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for side, rows in (("a", a), ("b", b)):
            for label in "xy":
                users = [[user] for file, user in rows if file == label]
                write(Path(folder, side, f"{label}_20251128_120000.csv"), users, ["user_id"])
        found = compare(Path(folder, "a"), Path(folder, "b"))
    common = Counter(a) & Counter(b)
    assert {file.label: file.common for file in found.files} == {
        label: sum(count for (file, _), count in common.items() if file == label) for label in "xy"
    }
    both = {user for _, user in a} & {user for _, user in b}
    left = [Counter(user for _, user in (Counter(one) - common).elements()) for one in (a, b)]
    moved = {user: min(left[0][user], left[1][user]) for user in both}
    assert sum(found.moved.values()) == sum(moved.values())
    extra = [sum(side[user] - moved[user] for user in both) for side in left]
    assert sum(file.extra_a for file in found.files) == extra[0]
    assert sum(file.extra_b for file in found.files) == extra[1]
    assert found.only_a == len({user for _, user in a} - both)
    assert found.only_b == len({user for _, user in b} - both)
    for side, repeated in ((a, found.repeated_a), (b, found.repeated_b)):
        assert repeated == sum(n > 1 for n in Counter(user for _, user in side).values())
    assert found.is_equal == (sorted(a, key=itemgetter(0)) == sorted(b, key=itemgetter(0)))


def test_a_user_in_several_rows_is_reported_and_only_the_rows_too_many_are_different(
    tmp_path: Path,
) -> None:
    for folder, more in (("a", [ENGLISH[0], ENGLISH[0]]), ("b", [ENGLISH[0]])):
        write(tmp_path / folder / "x_20251128_120000.csv", [*ENGLISH, *more])
        write(tmp_path / folder / "y_20251128_120000.csv", [["9", "z", "", ""]])
    found = compare(tmp_path / "a", tmp_path / "b")
    assert (found.repeated_a, found.repeated_b) == (1, 1)
    assert (found.files[0].extra_a, found.files[0].extra_b, found.files[0].changed_rows) == (
        1,
        0,
        0,
    )
    assert (found.only_a, found.only_b, found.moved) == (0, 0, {})
    assert compare(tmp_path / "a", tmp_path / "a").is_equal
    write(tmp_path / "b" / "y_20251128_120000.csv", [["9", "z", "", ""], ENGLISH[1]])
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.files[1].extra_b == 1, "in a second file of B, beside the one both have"
    assert found.repeated_b == 2


def test_a_file_that_only_one_side_has_is_a_difference(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "x_20251128_120000.csv", ENGLISH)
    write(tmp_path / "b" / "y_20251128_120000.csv", [])
    found = compare(tmp_path / "a", tmp_path / "b")
    assert not found.is_equal
    assert "file     y is only in B" in comparison_text(found)
    assert found.as_json()["files"][1]["a"] is None


def test_separators_quotes_and_line_breaks_within_cells_are_content(tmp_path: Path) -> None:
    rows = [["1", 'a,"b"\r\nc\n', "\x1f", ""], ["2", "", "", ""]]
    a = write(tmp_path / "a.csv", rows)
    assert compare(a, write(tmp_path / "b.csv", rows, quoting=csv.QUOTE_ALL)).is_equal
    rows = [["1", 'a,"b"\nc\n', "\x1f", ""], ["2", "", "", ""]]
    assert compare(a, write(tmp_path / "c.csv", rows)).files[0].changed_cells == {"username": 1}
    swapped = [["1", "ab", "", ""], ["2", "", "", ""]]
    other = [["1", "a", "b", ""], ["2", "", "", ""]]
    found = compare(write(tmp_path / "d.csv", swapped), write(tmp_path / "e.csv", other))
    assert found.files[0].changed_cells == {"username": 1, "lastActive": 1}


def test_byte_order_mark_and_missing_last_newline_are_notes(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    b = tmp_path / "b.csv"
    b.write_bytes(b"\xef\xbb\xbf" + a.read_bytes().rstrip(b"\n"))
    found = compare(a, b)
    assert found.is_equal
    assert list(found.files[0].notes()) == [
        "byte order mark: only in B",
        "newline at the end: only in A",
    ]


# Which run is meant


def two_runs(folder: Path) -> Path:
    write(folder / "x_20251127T120000.csv", ENGLISH[:1])
    write(folder / "x_20251128_120000.csv", ENGLISH)
    write(folder / "x_TEST_20251128_120000.csv", ENGLISH[:1])
    return folder


def test_the_newest_run_of_a_folder_is_taken_and_said(tmp_path: Path) -> None:
    folder = two_runs(tmp_path)
    found = compare(folder, folder / "x_20251128_120000.csv")
    assert found.is_equal
    assert found.a.source == f"{folder}, run 20251128T120000, the newest of 2"


def test_another_run_of_a_folder_can_be_named(tmp_path: Path) -> None:
    folder = two_runs(tmp_path)
    for name in ("20251127T120000", "20251127_120000"):
        assert compare(folder / name, folder / "x_20251127T120000.csv").is_equal
    with pytest.raises(UsageError, match="no run 20251126T120000 in this folder; did you mean"):
        compare(folder / "20251126_120000", folder)


def test_a_pointer_leads_to_its_manifest(golden: Database, tmp_path: Path) -> None:
    result = run_layer3(golden, tmp_path)
    assert result.metadata.manifest is not None
    pointer = tmp_path / "layer3-behavior.latest.json"
    found = compare(pointer, tmp_path)
    assert found.is_equal
    assert found.a.source == f"{pointer}, which names {result.metadata.manifest.name}"


def test_a_saved_result_is_as_good_as_a_manifest(golden: Database, tmp_path: Path) -> None:
    result = run_layer3(golden, tmp_path / "out")
    saved = tmp_path / "result.json"
    saved.write_text(json.dumps(result.as_json()))
    assert compare(saved, tmp_path / "out").is_equal


def test_two_single_files_are_compared_whatever_their_names(tmp_path: Path) -> None:
    a = write(tmp_path / "old-export.csv", ENGLISH)
    assert compare(a, write(tmp_path / "x_20251128_120000.csv", ENGLISH)).is_equal


def test_a_single_file_is_held_against_its_like_in_a_folder(tmp_path: Path) -> None:
    folder = two_runs(tmp_path / "runs")
    write(folder / "y_20251128_120000.csv", [["7", "", "", ""]])
    assert compare(write(tmp_path / "x_20240101_000000.csv", ENGLISH), folder).is_equal


# What cannot be compared: exit code 2


def test_unusable_sides_exit_2_and_say_what_to_give(tmp_path: Path) -> None:
    good = write(tmp_path / "good_20251128_120000.csv", ENGLISH)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "other.json").write_text('{"csvFiles": []}')
    document = json.loads((RECORDED_MANIFESTS / "layer3-behavior_20261126T033442.json").read_text())
    (tmp_path / "gone.json").write_text(json.dumps(document))
    (tmp_path / "empty.json").write_text(json.dumps({**document, "csvFiles": []}))
    (tmp_path / "odd.json").write_text(json.dumps({**document, "csvFiles": [1]}))
    pointer = json.loads((RECORDED_MANIFESTS / "layer3-behavior.latest.json").read_text())
    (tmp_path / "lost.json").write_text(json.dumps(pointer))
    (tmp_path / "loop.json").write_text(json.dumps({**pointer, "manifest": "loop.json"}))
    write(tmp_path / "tests" / "x_TEST_20251128_120000.csv", ENGLISH)
    write(tmp_path / "other" / "other_20251128_120000.csv", ENGLISH)
    for side, message in {
        "missing": "there is no such file or folder; give a folder, FOLDER/TIMESTAMP",
        "empty": "there is no CSV file in this folder",
        "broken.json": "broken.json: is no JSON document: EOF while parsing an object at line 1",
        "list.json": "list.json: is no JSON object; give a run's manifest",
        "other.json": "other.json: success: Field required; give a run's manifest",
        "empty.json": "this document lists no csvFiles",
        "gone.json": "lists 'recent-offer-creators_20261126T033442.csv', which does not exist",
        "odd.json": "odd.json: csvFiles.0: Input should be an object",
        "lost.json": "layer3-behavior_20261126T033442.json: cannot be read: No such file",
        "loop.json": "loop.json: manifest: Value error, is no name of a manifest",
        "tests": "there are only test files in this run; add --test-files",
        "other": "the two sides have no file in common; A: good; B: other",
        "n" * 300: "there is no such file or folder",
    }.items():
        code, stdout, stderr = invoke(good, tmp_path / side)
        assert (code, stdout) == (2, ""), stderr
        assert message in stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "b.csv: this file is empty: it has not even a header"),
        (b"user_id,a\n1,x\n2\n", "b.csv:3: this row has 1 cell and the header 2 cells"),
        (b'user_id,a\n1,"x\ny"\n2,z,z\n', "b.csv:4: this row has 3 cells and the header 2"),
        (
            b'user_id,a\n1,x\n2,"never ends\n3,y\n',
            "b.csv:3: this is not CSV: unexpected end of data",
        ),
        (b'user_id,a\n1,"x"y\n', "b.csv:2: this is not CSV: "),
        (b"user_id,a\n1,\xff\n", "b.csv:2: this is not UTF-8: invalid start byte"),
        (b"user_id,a\n1,\0\n", "b.csv:2: there is a NUL here"),
        (b"id,a\n1,x\n", "b.csv:1: there is no column 'user_id'; columns: id, a; name the column"),
        (b"user_id,a,a\n1,x,x\n", "b.csv:1: column 'a' is there twice"),
        (b"user_id,a\n" + b"1," + b"x" * (1 << 18), "b.csv:2: this is not CSV: field larger than"),
    ],
)
def test_a_broken_file_exits_2_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    a = write(tmp_path / "a.csv", [["1", "x"]], ["user_id", "a"])
    (tmp_path / "b.csv").write_bytes(content)
    for sides in ((a, tmp_path / "b.csv"), (tmp_path / "b.csv", a)):
        code, stdout, stderr = invoke(*sides)
        assert (code, stdout) == (2, "")
        assert message in stderr


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    (tmp_path / "b.csv").write_bytes(a.read_bytes().replace(b"2,bob", b"\n2,bob") + b"\n\n")
    assert compare(a, tmp_path / "b.csv").is_equal


def test_another_key_can_be_named_and_a_wrong_column_to_ignore_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    assert compare(a, a, key="username").is_equal
    with pytest.raises(CsvError, match="no column 'usrname'"):
        compare(a, a, key="usrname")
    with pytest.raises(UsageError, match="did you mean lastActive"):
        compare(a, a, ignored=["lastactive"])
    with pytest.raises(UsageError, match="or it is the key"):
        compare(a, a, ignored=["user_id"])


def test_two_engines_files_of_one_second_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x_20251128_120000.csv", ENGLISH)
    write(tmp_path / "x_20251128T120000.csv", ENGLISH)
    with pytest.raises(UsageError, match="this run has two files for x"):
        compare(tmp_path, tmp_path)


def test_no_room_for_the_temporary_file_is_an_error_and_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared_rows, "CACHE_KIB", "1; pragma nonsense(")
    a = write(tmp_path / "a.csv", ENGLISH)
    with pytest.raises(AudienceError, match=r"cannot be compared in a temporary file: .*TMPDIR"):
        compare(a, a)


def test_json_is_the_whole_comparison(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", ENGLISH)
    b = write(tmp_path / "b.csv", [*ENGLISH[1:], ["9", "new", "", ""]])
    code, stdout, _ = invoke(a, b, "--json", "--show-users", 1)
    document = json.loads(stdout)
    assert code == 1
    assert (document["usersOnlyInA"], document["usersOnlyInB"]) == (1, 1)
    assert document["files"][0]["a"] == {"name": "a.csv", "rowCount": 3, "columns": COLUMNS}
    assert [(one["kind"], one["user"]) for one in document["examples"]] == [
        ("only in A", "1"),
        ("only in B", "9"),
    ]


def test_comparing_loads_no_driver_and_holds_few_rows_at_once(tmp_path: Path) -> None:
    """Peak memory of a process, 200,000 rows a side: not much above that of a small one."""
    rows = [[f"{n:036}", f"user {n}" * 5, "t" * 30, str(n)] for n in range(200_000)]
    a = write(tmp_path / "a.csv", rows)
    b = write(tmp_path / "b.csv", rows[::-1])
    small = write(tmp_path / "small.csv", rows[:10])
    grown = peak_of(a, b) - peak_of(small, small)
    assert grown < 20_000, "KiB; the two files hold 40,000 in text alone"
    shutil.rmtree(tmp_path)


def peak_of(a: Path, b: Path) -> int:
    program = (
        "import re, sys\nfrom pathlib import Path\nfrom runner.tools.compare import rows\nfrom runner.tools.compare.compare import compare\n"
        "rows.CACHE_KIB = 2048\n"
        "compare(*map(Path, sys.argv[1:]))\n"
        "assert 'psycopg' not in sys.modules\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    command = [sys.executable, "-c", program, str(a), str(b)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return int(done.stdout)
