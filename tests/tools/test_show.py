"""`show`: the first rows of any model, and nobody's name in them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.project.load import load_project
from runner.sql.personal import MASKED
from runner.tables import csv_table, plain_table
from runner.tools import show as tool
from runner.tools.show import Preview
from tests.cli.test_commands import invoke
from tests.support import (
    AS_OF,
    ROOT,
    Database,
    rows_of,
    run_layer3,
    shipped_project,
    tiny_project,
)


def show(database: Database, model: str, project: Path = ROOT, **options: object) -> Preview:
    given = {"as_of": AS_OF, **options}
    return tool.show(load_project(project), model, database.target(), **given)  # type: ignore[arg-type]


@pytest.fixture
def options(golden: Database, tmp_path: Path) -> list[object]:
    profile = golden.profile(tmp_path / "profile")
    as_of = AS_OF.isoformat()
    return ["--profiles-dir", profile, "--project-dir", ROOT, "--as-of", as_of]


def tiny(tmp_path: Path, people: str) -> Path:
    return tiny_project(tmp_path / "p", people=people)


# Personal columns


def test_no_masked_row_of_any_model_holds_what_says_who_somebody_is(golden: Database) -> None:
    sources = ("users.id", "users.username", "users.first_name", "user_activities.last_active")
    secrets = {
        text
        for table, column in (one.split(".") for one in sources)
        for (text,) in golden.execute(f"select distinct {column}::text from {table}").fetchall()
        if text
    }
    shown = 0
    project = load_project(ROOT)
    for model in project.models:
        own = next((name for name in project.audiences if name[:6] == model[:6]), "layer3-behavior")
        rows = show(golden, model, audience=own, limit=1_000_000).rows
        assert not secrets & {cell for row in rows for cell in row}, model
        shown += len(rows)
    assert shown > 10_000


def test_sizes_that_users_stated_are_masked_too(golden: Database) -> None:
    for model in ("layer3_preferred_size", "layer3_profiles", "layer3_enriched"):
        assert "preferred_size" in show(golden, model).masked
    assert "usersize" in show(golden, "layer3_closet_adders").masked


def test_unmask_shows_them(golden: Database) -> None:
    shown = show(golden, "stg_users", unmask=True, limit=1)
    assert shown.masked == ()
    username = golden.value(f"select username from users where id = '{shown.rows[0][0]}'")
    assert shown.rows[0][1] == username


def test_a_mask_leaves_null_and_empty_to_be_seen(golden: Database) -> None:
    golden.execute("update users set first_name = null where deleted_at = 0")
    assert {row[2] for row in show(golden, "stg_users").rows} == {None}
    golden.execute("update users set first_name = '' where deleted_at = 0")
    assert {row[2] for row in show(golden, "stg_users").rows} == {""}
    assert {row[1] for row in show(golden, "stg_users").rows} == {MASKED}


def test_a_column_that_no_yaml_describes_is_masked_where_anything_upstream_is_personal(
    golden: Database, tmp_path: Path
) -> None:
    project = shipped_project(tmp_path / "p")
    draft = "select username as alias, count(*) as n from {{ ref('stg_users') }} group by username"
    (project / "models" / "draft.sql").write_text(draft)
    shown = show(golden, "draft", project, audience="layer3-behavior")
    assert shown.masked == ("alias", "n")


# Which rows


def test_a_final_models_first_rows_are_its_files(golden: Database, tmp_path: Path) -> None:
    shown = show(golden, "layer3_closet_adders", unmask=True, limit=5)
    first = [row["user_id"] for row in rows_of(run_layer3(golden, tmp_path), "closet_add")[:5]]
    assert [row[0] for row in shown.rows] == first
    assert shown.order == ("newest_activity_at desc", "user_id")
    assert shown.has_more


def test_parameters_count_as_in_a_run(golden: Database) -> None:
    few = {"min_wishlist_count": "1000"}
    assert len(show(golden, "layer3_closet_adders", limit=1000).rows) > 0
    assert show(golden, "layer3_closet_adders", parameters=few).rows == ()


def test_what_is_wrong_in_a_model_that_is_not_needed_does_not_matter(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", second_file="select nothing from {{ ref('people') }}")
    assert len(show(database, "people", project).rows) == 3


def test_two_columns_may_bear_one_name(database: Database, tmp_path: Path) -> None:
    project = tiny(tmp_path, "select 1 as user_id, 'a' as name")
    (project / "models" / "twice.sql").write_text("select 1 as a, 2 as a")
    shown = show(database, "twice", project, audience="tiny")
    assert (shown.names, shown.rows) == (["a", "a"], (("1", "2"),))


def test_a_model_without_columns_is_no_error(database: Database, tmp_path: Path) -> None:
    project = tiny(tmp_path, "select 1 as user_id, 'a' as name")
    (project / "models" / "nothing.sql").write_text("select")
    shown = show(database, "nothing", project, audience="tiny")
    assert (shown.names, shown.rows) == ([], ((),))
    assert "1 rows, all of them" in shown.notes()[1]


def test_it_works_where_no_temp_table_may_be_made(golden: Database, role: str) -> None:
    golden.execute(f"grant select on all tables in schema public to {role}")
    name = golden.value("select current_database()")
    golden.execute(f'revoke temp on database "{name}" from public')
    target = golden.target(user=role, password="reader secret")
    inlined = tool.show(load_project(ROOT), "layer3_enriched", target, as_of=AS_OF)
    assert inlined == show(golden, "layer3_enriched")


# How they are shown


def test_null_and_empty_differ_in_every_form(database: Database, tmp_path: Path) -> None:
    people = (
        "select * from (values (1, null), (2, ''), (3, 'NULL'), (4, ' x')) as v (user_id, name)"
    )
    project, profile = tiny(tmp_path, people), database.profile(tmp_path / "profile")
    arguments = ["show", "people", "--project-dir", project, "--profiles-dir", profile]
    _, table, _ = invoke(*arguments)
    assert [line.split(maxsplit=1)[1] for line in table.splitlines()[-4:]] == [
        "NULL", "''", "'NULL'", "' x'",
    ]  # fmt: skip
    assert invoke(*arguments, "--csv")[1] == 'user_id,name\n1,\n2,""\n3,NULL\n4, x\n'
    document = json.loads(invoke(*arguments, "--json")[1])
    assert document["rows"] == [[1, None], [2, ""], [3, "NULL"], [4, " x"]]


def test_csv_is_alone_on_stdout_and_reads_back(options: list[object]) -> None:
    code, stdout, stderr = invoke("show", "stg_products", *options, "--csv", "--limit", 30)
    rows = list(csv.reader(io.StringIO(stdout)))
    assert (code, rows[0], len(rows)) == (0, ["product_id", "product_name"], 31)
    assert "30 rows, there are more, ordered by product_id" in stderr


def test_json_is_one_document_with_types(options: list[object]) -> None:
    code, stdout, stderr = invoke("show", "layer3_prioritized", *options, "--json", "--limit", 1)
    document = json.loads(stdout)
    row = dict(zip(document["columns"], document["rows"][0], strict=True))
    assert (code, stderr) == (0, "")
    assert row["user_id"] == MASKED
    assert isinstance(row["demand_count"], int)
    assert isinstance(row["keep_demand"], bool)
    assert document["audienceChosen"] == "the only audience that reads it"


def test_what_speaks_to_a_terminal_is_spelled_out() -> None:
    assert plain_table(["a\x1b[2J"], [["x\ny"], ["\u202e"]]).splitlines() == [
        "a\\x1b[2J", "--------", "x\\ny", "\\u202e",
    ]  # fmt: skip


def test_wide_characters_keep_columns_apart() -> None:
    lines = plain_table(["name", "n"], [["スニーカー", "1"], ["a", "10"]]).splitlines()
    assert lines[2:] == ["スニーカー   1", "a           10"]


def test_csv_quotes_what_needs_it() -> None:
    assert csv_table(["a,b"], [['say "hi"'], ["two\nlines"]]) == '"a,b"\n"say ""hi"""\n"two\nlines"'


@pytest.mark.parametrize(("columns", "first"), [(200, "user_id "), (40, "-- row 1")])
def test_a_terminal_gets_a_table_or_records_if_it_is_narrow(
    options: list[object], columns: int, first: str
) -> None:
    import pty

    mine, theirs = pty.openpty()
    program = "from runner.cli.app import main; main()"
    arguments = ["show", "layer3_profiles", *map(str, options), "--limit", "2"]
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    running = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(mine, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        shown += piece
        if not piece:
            break
    os.close(mine)
    assert running.wait(timeout=20) == 0
    text = re.sub("\x1b.*?m", "", shown.decode())
    lines = text.split("\r\n\r\n", 1)[1].splitlines()
    assert lines[0].startswith(first)


# Which audience


def test_a_model_of_two_audiences_needs_to_be_told_whose(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p",
        parameters="{name: most, type: integer, default: 2, description: d}",
        people="select n as user_id, 'x' as name from generate_series(1, {{ var('most') }}) as given (n)",
    )
    text = (project / "models" / "tiny.yml").read_text()
    second = text.replace("name: tiny", "name: other").replace("file: ", "file: other-")
    (project / "models" / "other.yml").write_text(second)
    same = show(database, "people", project)
    assert (same.audience, len(same.rows)) == ("other", 2)
    assert same.reason == "the model is the same in all audiences that read it"
    (project / "models" / "other.yml").write_text(second.replace("default: 2", "default: 3"))
    with pytest.raises(UsageError) as caught:
        show(database, "people", project)
    assert str(caught.value) == (
        "2 audiences read model people; known: other, tiny; "
        "name the audience whose parameters to use with --audience"
    )
    assert show(database, "people", project, audience="other").reason == "as asked"


def test_a_model_that_no_audience_reads_yet_gets_the_parameters_of_the_named_one(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p", parameters="{name: most, type: integer, default: 2, description: d}"
    )
    (project / "models" / "draft.sql").write_text("select {{ var('most') }} as n")
    with pytest.raises(
        UsageError, match="no audiences read model draft; known: tiny; name the audience"
    ):
        show(database, "draft", project)
    assert show(database, "draft", project, audience="tiny").rows == (("2",),)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stg_usres"], "there is no model 'stg_usres'; did you mean stg_users"),
        (["stg_users", "--limit", "0"], "--limit must be between 1 and 1000000; given: 0"),
        (["stg_users", "--limit", "-3"], "--limit must be between 1 and 1000000; given: -3"),
        (["stg_users", "--where", "a = 1"], "show has no --where; to follow one user: audiences trace"),
        (["stg_users", "--json", "--csv"], "--json and --csv were both given; give one"),
        (["stg_users", "--audience", ""], "--audience '' is empty or not printable; give it a value"),
        (["stg_users", "--audience", "layer"], "there is no audience 'layer'; "),
        (["stg_users", "--var", "lookback=1"], "audience layer2-trending has no parameter 'lookback'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(
    options: list[object], arguments: list[str], message: str
) -> None:
    code, _, stderr = invoke("show", *arguments, *options)
    assert code == 2
    assert stderr.startswith(f"error: {message}")
    assert len(stderr.splitlines()) == 1


def test_a_model_that_cannot_run_names_its_line_and_exits_1(
    database: Database, tmp_path: Path
) -> None:
    project = tiny(
        tmp_path,
        "select n as user_id, 'x' as name,\n1 / (n - 3) as x\nfrom generate_series(1, 3) as g (n)",
    )
    arguments = ["--project-dir", project, "--profiles-dir", database.profile(tmp_path / "profile")]
    code, _, stderr = invoke("show", "first_file", *arguments)
    assert code == 1
    assert stderr.startswith("error: models/people.sql:2:")
    assert ": division by zero" in stderr.splitlines()[0]
    project = tiny(tmp_path / "q", "select\n    user_idd\nfrom generate_series(1, 3) as g (n)")
    arguments[1] = project
    code, _, stderr = invoke("show", "people", *arguments)
    assert code == 1
    assert stderr.startswith("error: models/people.sql:2:5: column ")
