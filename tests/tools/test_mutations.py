"""The mutation check: which changes are made, and which of them it says nobody notices."""

from __future__ import annotations

import json
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


def with_notes(*notes: str, model: str = "numbers") -> str:
    """The case, which explains some changes: each note is the text of its mapping in YAML."""
    listed = "\n".join(f"          - {{{note}}}" for note in notes)
    return CASES.replace(
        "    model: numbers\n",
        f"    model: {model}\n    config:\n      meta:\n        equivalent_changes:\n{listed}\n",
    )


BOUND_NOTE = "line: n >= 3, from: '>=', to: '>', reason: nobody has three"
NUMBER_NOTE = "line: n >= 3, from: '3', to: '4', reason: nobody has three"
NOTES_START = 7
"""The line of the first note in the cases' file."""


def test_notes_in_yaml_explain_changes_that_mean_the_same(check: Check) -> None:
    code, out, _ = check("--select", "numbers", "--json", cases=with_notes(BOUND_NOTE, NUMBER_NOTE))
    document = json.loads(out)
    explained = [one for one in document["mutations"] if one["outcome"] == "equivalent"]
    assert code == 0
    assert document["success"] is True
    assert [(one["from"], one["to"], one["reason"]) for one in explained] == [
        (">=", ">", "nobody has three"),
        ("3", "4", "nobody has three"),
    ]
    assert {(one["file"], one["line"]) for one in explained} == {("models/numbers.sql", 4)}


def test_a_note_survives_edits_elsewhere(check: Check) -> None:
    model = MODEL.replace("where", "-- a reason\n\nwhere\n    true\n    and").replace(
        "    n >= 3", "      n  >= 3  "
    )
    _, out, _ = check("--select", "numbers", model=model, cases=with_notes(BOUND_NOTE))
    assert "equivalent models/numbers.sql:8:10  `>=` to `>`: nobody has three" in out


@pytest.mark.parametrize(
    ("note", "bound", "why"),
    [
        (BOUND_NOTE, BOUND, "`>=` to `>`: numbers::bound notices this change"),
        (
            BOUND_NOTE.replace("n >= 3", "n >= 4"),
            "",
            "`>=` to `>`: models/numbers.sql has no such line",
        ),
        (
            BOUND_NOTE.replace("from", "after: having, from"),
            "",
            "`>=` to `>`: models/numbers.sql has no such line below what after: names",
        ),
        (
            BOUND_NOTE.replace("'>'", "'='"),
            "",
            "`>=` to `=`: no such change is made at models/numbers.sql:4",
        ),
    ],
)
def test_a_note_that_explains_nothing_is_stale_and_says_why(
    check: Check, note: str, bound: str, why: str
) -> None:
    code, out, _ = check("--select", "numbers", cases=with_notes(note) + bound)
    assert code == 1
    assert f"stale      models/cases.yml:{NOTES_START}:1  {why}\n" in out


def test_a_stale_note_is_in_the_document_with_its_place(check: Check) -> None:
    cases = with_notes(BOUND_NOTE, NUMBER_NOTE) + BOUND
    _, out, _ = check("--select", "numbers", "--json", cases=cases)
    stale = [one for one in json.loads(out)["mutations"] if one["outcome"] == "stale"]
    assert stale[1] == {
        "file": "models/cases.yml",
        "line": NOTES_START + 1,
        "column": 1,
        "from": "3",
        "to": "4",
        "outcome": "stale",
        "reason": "numbers::bound notices this change",
    }


TWICE = """select n
from {{ ref('people') }}
where
    n >= 3

union

select n
from {{ ref('people') }}
where
    -- those without a number
    n is null
    and n >= 3
    or
    n >= 3
"""


def test_a_note_that_fits_two_lines_is_ambiguous(check: Check) -> None:
    code, out, error = check("--select", "numbers", model=TWICE, cases=with_notes(BOUND_NOTE))
    assert (code, out) == (2, "")
    assert (
        f"models/cases.yml:{NOTES_START}: this note fits 2 changes of models/numbers.sql, and may "
        "explain only one; they are at 4:7 and 15:7; add after: with the line above the one "
    ) in error


@pytest.mark.parametrize("above", ["or", "or\n", "n is null\n  -- or not\n\nand n >= 3\nor"])
def test_after_distinguishes_two_equal_lines(check: Check, above: str) -> None:
    note = BOUND_NOTE.replace("from", f"after: {json.dumps(above)}, from")
    _, out, _ = check("--select", "numbers", model=TWICE, cases=with_notes(note))
    assert "equivalent models/numbers.sql:15:7  `>=` to `>`: nobody has three" in out
    assert " 1 equivalent" in out
    assert " 0 stale" in out


def test_a_note_that_fits_two_changes_of_one_line_is_ambiguous(check: Check) -> None:
    model = MODEL.replace("n >= 3", "n >= 3 and n >= 3")
    note = BOUND_NOTE.replace("n >= 3", "n >= 3 and n >= 3")
    code, _, error = check("--select", "numbers", model=model, cases=with_notes(note))
    assert code == 2
    assert "they are at 4:7 and 4:18; write each on a line of its own in the SQL" in error


def test_two_notes_may_not_explain_one_change(check: Check) -> None:
    code, _, error = check("--select", "numbers", cases=with_notes(BOUND_NOTE, BOUND_NOTE))
    assert code == 2
    assert (
        f"models/cases.yml:{NOTES_START + 1}: two notes explain the same change; the other is "
        f"models/cases.yml:{NOTES_START}; remove one"
    ) in error


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        (BOUND_NOTE.replace("reason", "why"), "unknown key 'why'"),
        (BOUND_NOTE.split(", reason")[0], "reason: Field required"),
        (BOUND_NOTE.split(", reason")[0] + ", reason: ''", "reason: String should have at least 1"),
        (BOUND_NOTE.replace("from: '>=', ", ""), "from: Field required"),
        (NUMBER_NOTE.replace("'4'", "4"), "to: Input should be a valid string"),
    ],
)
def test_a_note_is_checked_with_its_line(check: Check, note: str, problem: str) -> None:
    code, out, error = check("--select", "numbers", cases=with_notes(NUMBER_NOTE, note))
    assert (code, out) == (2, "")
    assert f"models/cases.yml:{NOTES_START + 1}" in error
    assert problem in error


def test_notes_for_a_model_that_is_not_there_are_an_error(check: Check) -> None:
    code, _, error = check("--select", "numbers", cases=with_notes(BOUND_NOTE, model="number"))
    assert code == 2
    assert "models/cases.yml:3: there is no model 'number'; did you mean numbers?" in error


def test_cases_must_pass_before_anything_is_changed(check: Check) -> None:
    code, out, error = check("--select", "numbers", cases=CASES.replace("{n: 4}]}\n", "{n: 5}]}\n"))
    assert (code, out) == (2, "")
    assert "numbers::three does not pass on the unchanged model" in error


def test_what_the_server_refuses_needs_no_case(check: Check) -> None:
    model = "select distinct on (n) n\nfrom {{ ref('people') }}\nwhere n >= 3\norder by n, n + 1"
    _, out, _ = check("--select", "numbers", "--json", model=model, cases=CASES + BOUND)
    refused = [one for one in json.loads(out)["mutations"] if one["outcome"] == "refused"]
    assert [(one["from"], one["to"]) for one in refused] == [("n,", "")]
    assert "SELECT DISTINCT ON expressions must match" in refused[0]["reason"]


def test_the_shipped_cases_notice_every_change_that_is_not_explained(
    bare: Target,
) -> None:
    with open_case_session(load_project(ROOT), bare) as session:
        found = check_mutations(session, [])
    gaps = [f"{one.place} {one.change}" for one in found if one.outcome in ("unnoticed", "stale")]
    assert gaps == []
    assert len(found) > 300
