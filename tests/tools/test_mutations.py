"""The mutation check: which changes are made, and which of them it says nobody notices."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from runner.project.load import load_project
from runner.project.targets import Target
from runner.tools.unit_tests.mutations import check_mutations, mutations
from runner.tools.unit_tests.unit_tests import open_case_session
from tests.support import ROOT, Database, tiny_project

TYPES = {"count": "integer", "strict": "boolean", "name": "text"}


def changes(source: str) -> set[tuple[str, str]]:
    return {one.change(source) for one in mutations(source, TYPES)}


def made(source: str) -> set[str]:
    """The changed texts, white space on one line."""
    return {" ".join(one.applied(source).split()) for one in mutations(source, TYPES)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("select 1 as n from t where a >= b", {"a > b", "a < b"}),
        ("select 1 as n from t where a < b", {"a <= b", "a > b"}),
        ("select 1 as n from t where a = b", {"a <> b"}),
        ("select 1 as n from t where a and b", {"a or b", "true and b", "a and true"}),
        ("select 1 as n from t where a or b", {"a and b", "false or b", "a or false"}),
        ("select 1 as n from t where a is null", {"a is not null"}),
        ("select 1 as n from t where a is not null", {"a is null"}),
        ("select 1 as n from t where not a", {"a"}),
        ("select 1 as n from t where a in (b)", {"a not in (b)"}),
        ("select 1 as n from t where a not in (b)", {"a in (b)"}),
        ("select 1 as n from t where a = 'x'", {"a = 'mutated'"}),
        ("select 1 as n from t where a = 5", {"a = 6", "a = 4"}),
        ("select 1 as n from t where a > {{ var('count') }}", {
            "a > ({{ var('count') }} + 1)", "a > ({{ var('count') }} - 1)"}),
        ("select 1 as n from t where {{ var('strict') }}", {"(not {{ var('strict') }})", "true"}),
        ("select 1 as n from t where a = '{{ var('name') }}'", {"a = 'mutated'"}),
        ("select 1 as n from t where a < '{{ run_started_at }}'::timestamptz", {
            "a < '{{ run_started_at }}'::timestamptz + interval '1 microsecond'",
            "a < '{{ run_started_at }}'::timestamptz - interval '1 microsecond'"}),
        ("select 1 as n from t where a < b - interval '1 hour' * 2", {
            "a < b - interval '2 hour' * 2", "a < b + interval '1 hour' * 2",
            "a < b - interval '1 hour' / 2"}),
        ("select 1 as n from t where a between 1 and 2", {"a between 2 and 2"}),
    ],
)  # fmt: skip
def test_conditions_are_changed_and_left_out(source: str, expected: set[str]) -> None:
    where = {text.split(" where ")[1] for text in made(source) if " where " in text}
    assert expected <= where


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("select a from t inner join u on t.a = u.a", ("inner join", "left join")),
        ("select a from t left join u on t.a = u.a", ("left join", "inner join")),
        ("select a from t inner join u on t.a = u.a", ("t.a = u.a", "true")),
        ("select a from t union all select a from u", ("union all", "union")),
        ("select max(a) as a from t", ("max", "min")),
        ("select count(*) as a from t", ("count(*)", "min(1)")),
        ("select coalesce(a, 0) as a from t", ("coalesce(a, 0)", "a")),
        ("select coalesce(a, 0) as a from t", ("coalesce(a, 0)", "0")),
        ("select btrim(a, ' ') as a from t", ("btrim(a, ' ')", "a")),
        ("select btrim(a, E' \\t') as a from t", (r"E' \t'", r"E' '")),
        ("select a from t order by a, b desc", ("a", "a desc")),
        ("select a from t order by a, b desc", ("desc", "asc")),
        ("select a from t order by a, b desc", (", b desc", "")),
        ("select distinct on (a) a from t order by a", ("distinct on (a)", "")),
        ("select distinct a from t", ("select distinct", "select")),
        ("select row_number() over (partition by a order by b) as n from t", ("partition by a", "")),
        ("select case when a then 1 else 2 end as n from t", ("2", "null")),
        ("select t.a from t", ("t.a", "null as a")),
        ("select t.a::text as b from t", ("t.a::text", "null")),
        ("select a from t where b and (c\n  or d)", ("(c or d)", "true")),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_made(source: str, expected: tuple[str, str]) -> None:
    assert expected in changes(source)


def test_comments_names_jinja_and_what_is_only_speed_stay() -> None:
    source = (
        'with a as not materialized (\n\n    select * from {{ ref(\'b\') }}\n\n)\n'
        '-- 1 < 2 and 3\n/* inner join */\nselect "x < 1" as n from a'
    )  # fmt: skip
    assert changes(source) == {('"x < 1"', "null")}


def test_the_and_of_a_between_is_no_connective() -> None:
    source = "select 1 as n from t where a between b and c and d"
    wheres = {text.split(" where ")[1] for text in made(source) if " where " in text}
    assert "a between b and c or d" in wheres
    assert not any("b or c" in one or "between true" in one for one in wheres)


def test_a_change_knows_its_line_and_column() -> None:
    source = "select a\nfrom t\nwhere\n    a = 1"
    found = {one.change(source): one.line_and_column(source) for one in mutations(source, {})}
    assert found["=", "<>"] == (4, 7)


def test_every_change_of_every_shipped_model_is_still_a_template() -> None:
    from jinja2 import Environment

    for model in load_project(ROOT).models.values():
        for one in mutations(model.source_text, TYPES):
            Environment().parse(one.applied(model.source_text))


# The check


MODEL = """select n
from {{ ref('people') }}
where
    n >= 3
"""
PEOPLE = "select 1 as n"
CASES = """unit_tests:
  - name: three
    model: numbers
    given: [{input: ref('people'), rows: [{n: 4}, {n: 2}]}]
    expect: {rows: [{n: 4}]}
"""
BOUND = """  - name: bound
    model: numbers
    given: [{input: ref('people'), rows: [{n: 3}]}]
    expect: {rows: [{n: 3}]}
"""

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(database: Database, tmp_path: Path) -> Check:
    profile = database.profile(tmp_path / "profile")

    def call(*arguments: str, model: str = MODEL, cases: str = CASES) -> tuple[int, str, str]:
        models = {
            "numbers": model,
            "people": PEOPLE,
            "first_file": "select n as user_id, '' as name from {{ ref('numbers') }}",
        }
        project = tiny_project(tmp_path / "p", **models)
        (project / "models" / "cases.yml").write_text(cases)
        options = ["--project-dir", str(project), "--profiles-dir", str(profile)]
        done = CliRunner().invoke(app, ["test", "--unit", "--mutate", *arguments, *options])
        return done.exit_code, done.stdout, done.stderr

    return call


def test_a_change_that_no_case_notices_is_shown_with_its_place(check: Check) -> None:
    code, out, progress = check("--select", "numbers")
    assert code == 1
    assert out == (
        "unnoticed  models/numbers.sql:4:7  `>=` to `>`\n"
        "    -     n >= 3\n"
        "    +     n > 3\n"
        "unnoticed  models/numbers.sql:4:10  `3` to `4`\n"
        "    -     n >= 3\n"
        "    +     n >= 4\n"
        "6 made, 4 noticed, 0 refused, 0 equivalent, 2 unnoticed, 0 stale\n"
    )
    assert progress.startswith("numbers: ")


def test_a_case_on_the_bound_closes_the_gap(check: Check) -> None:
    code, out, _ = check("--select", "numbers", cases=CASES + BOUND)
    assert code == 0
    assert " 0 unnoticed" in out


def test_a_model_without_a_case_is_a_gap_unless_others_are_selected(check: Check) -> None:
    code, out, _ = check(cases=CASES + BOUND)
    assert code == 1
    assert "unnoticed  models/people.sql:1:8  `1` to `2`" in out


def noted(*changes: str) -> str:
    """The cases, the first with notes on changes that mean the same."""
    notes = "".join(f"          - {{{change}}}\n" for change in changes)
    meta = f"    config:\n      meta:\n        equivalent_changes:\n{notes}"
    head, model, rest = CASES.partition("    model: numbers\n")
    return head + model + meta + rest


def test_a_note_explains_a_change_that_means_the_same(check: Check) -> None:
    cases = noted(
        "line: n >= 3, from: '>=', to: '>', reason: nobody has exactly three",
        "line: n >= 3, from: '3', to: '4', reason: nobody has three",
    )
    code, out, _ = check("--select", "numbers", "--json", cases=cases)
    document = json.loads(out)
    explained = [one for one in document["mutations"] if one["outcome"] == "equivalent"]
    assert code == 0
    assert document["success"] is True
    assert [(one["from"], one["to"], one["reason"]) for one in explained] == [
        (">=", ">", "nobody has exactly three"),
        ("3", "4", "nobody has three"),
    ]


@pytest.mark.parametrize("line", ["n >= 3", "n >= 30"])
def test_a_note_that_explains_nothing_is_stale_and_reported_at_its_own_place(
    check: Check, line: str
) -> None:
    cases = noted(f"line: {line}, from: '>=', to: '>', reason: so it was")
    number = cases[: cases.index("- {line")].count("\n") + 1
    code, out, _ = check("--select", "numbers", cases=cases + BOUND)
    assert code == 1
    assert re.search(rf"stale      models/\w+\.yml:{number}:1  `>=` to `>`: a case notices it", out)


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        ("line: n >= 3, from: '>=', to: '>'", "reason"),
        ("line: n >= 3, from: '>=', to: '>', reason: ''", "reason"),
        ("line: n >= 3, from: '>=', too: '>', reason: x", "too"),
    ],
)
def test_a_note_without_its_parts_is_an_error_in_its_file(
    check: Check, note: str, expected: str
) -> None:
    code, _, error = check("--select", "numbers", cases=noted(note))
    assert code == 2
    assert re.search(r"models/\w+\.yml:\d+", error)
    assert expected in error


def test_cases_must_pass_before_anything_is_changed(check: Check) -> None:
    code, out, error = check("--select", "numbers", cases=CASES.replace("{n: 4}]}\n", "{n: 5}]}\n"))
    assert (code, out) == (2, "")
    assert "numbers::three does not pass as it is" in error


def test_what_the_server_refuses_needs_no_case(check: Check) -> None:
    model = "select distinct on (n) n\nfrom {{ ref('people') }}\nwhere n >= 3\norder by n, n + 1"
    _, out, _ = check("--select", "numbers", "--json", model=model, cases=CASES + BOUND)
    refused = [one for one in json.loads(out)["mutations"] if one["outcome"] == "refused"]
    assert [(one["from"], one["to"]) for one in refused] == [("n,", "")]
    assert "SELECT DISTINCT ON expressions must match" in refused[0]["reason"]


def test_the_shipped_cases_notice_every_change_that_is_not_explained(
    bare: Target,
) -> None:
    with open_case_session(load_project(ROOT), bare) as case_session:
        found = check_mutations(case_session, [])
    gaps = [f"{one.place} {one.change}" for one in found if one.outcome in ("unnoticed", "stale")]
    assert gaps == []
    assert len(found) > 300
