"""Indexes that models rely on: what is read from the server's text, and what `check` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.database.indexes import Condition, Index, conditions, joined_columns, predicate
from runner.errors import ProjectError
from runner.project.load import load_project
from tests.cli.test_commands import invoke
from tests.support import ROOT, Database, shipped_project

# The server's own text


def test_comparisons_with_constants_are_read_from_a_filter() -> None:
    text = (
        "((a.status = 'OPEN'::text) AND (a.created_at >= ('2025-11-28 12:00:00+00'::timestamp "
        "with time zone - '36:00:00'::interval)) AND (a.deleted_at = 0) AND a.preferred "
        "AND (NOT a.hidden) AND (a.note IS NULL) AND ((a.name)::text = 'x (y'' and z'::text))"
    )
    assert conditions(text, "a") == [
        Condition("status", "=", "OPEN", is_exact=True),
        Condition("created_at", ">="),
        Condition("deleted_at", "=", 0, is_exact=True),
        Condition("preferred", "=", True, is_exact=True),
        Condition("hidden", "=", False, is_exact=True),
        Condition("note", "=", None, is_exact=True),
        Condition("name", "=", "x (y' and z", is_exact=True, is_cast=True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "(a.x = b.y)",
        "(b.x = 1)",
        "((a.x = 1) OR (a.y = 2))",
        "(a.x <> 1)",
        "(a.x = ANY ('{1,2}'::integer[]))",
        "(a.x = $0)",
        "(a.x = (InitPlan 1).col1)",
        "(lower((a.x)::text) = 'y'::text)",
        "((a.x)::date >= '2025-11-28'::date)",
        "(a.x ~~ 'y%'::text)",
        "(a.x IS NOT NULL)",
        "",
    ],
)
def test_what_no_index_of_ours_would_serve_is_left_alone(text: str) -> None:
    assert conditions(text, "a") == []


def test_a_constant_of_another_type_is_a_key_but_no_predicate() -> None:
    (only,) = conditions("(a.id = '0e54067c-4c0e-4e4a-8a23-a47661578059'::uuid)", "a")
    assert (only.column, only.operator, only.is_exact) == ("id", "=", False)


def test_join_columns_are_those_of_the_table_on_either_side() -> None:
    text = '((a.x = b.y) AND ((b.z)::text = (a."Q")::text) AND (c.v = d.w))'
    assert joined_columns(text, "a") == ["x"]
    assert joined_columns('(b.y = a."Q")', "a") == ["Q"]


def test_a_predicate_is_known_if_it_is_made_of_equalities() -> None:
    assert predicate("((deleted_at = 0) AND (status = 'OPEN'::text))") == {
        "deleted_at": 0,
        "status": "OPEN",
    }
    assert predicate("((deleted_at = 0) AND (created_at > '2025-01-01'::date))") is None


def test_names_are_quoted_where_they_must_be() -> None:
    index = Index("App", "order", ("user", "createdAt"), (("it's", "it's"), ("ok", False)))
    assert index.statement == (
        'create index concurrently on "App"."order" ("user", "createdAt") '
        "where \"it's\" = 'it''s' and not ok;"
    )


# check


def told(database: Database, folder: Path, project: Path = ROOT) -> dict[str, str]:
    """What `check` says of each index: the word in front."""
    profile = database.profile(folder / "profile")
    code, stdout, _ = invoke("check", "--profiles-dir", profile, "--project-dir", project)
    assert code == 0
    lines = [line.split(maxsplit=2) for line in stdout.splitlines()]
    return {rest.split(":")[0]: word for word, kind, rest in lines if kind == "index"}


@pytest.fixture
def big_offers(golden: Database) -> Database:
    golden.execute("set session_replication_role to replica")
    golden.execute(
        "insert into offers (creator_user_id) select md5(n::text)::uuid from generate_series(1, 120000) as g (n)"
    )
    return golden


OFFERS = "on public.offers (created_at)"


def test_a_missing_index_of_a_big_table_is_a_warning_with_the_line_that_makes_it(
    big_offers: Database, tmp_path: Path
) -> None:
    said = told(big_offers, tmp_path)
    assert {name for name, word in said.items() if word == "warn"} == {OFFERS}
    assert "on public.wishlist_items (created_at) where deleted_at = 0" in said
    arguments = ["--profiles-dir", tmp_path / "profile", "--project-dir", ROOT, "--json"]
    document = json.loads(invoke("check", *arguments)[1])
    line = f"create index concurrently {OFFERS};"
    (warning,) = document["warnings"]
    assert (document["valid"], document["errors"], line in warning) == (True, [], True)
    big_offers.execute(line)
    assert told(big_offers, tmp_path)[OFFERS] == "ok"


@pytest.mark.parametrize(
    ("index", "word"),
    [
        ("(created_at, creator_user_id)", "ok"),
        ("(created_at desc)", "ok"),
        ("(created_at) include (creator_user_id)", "ok"),
        ("(creator_user_id, created_at)", "warn"),
        ("(creator_user_id) include (created_at)", "warn"),
        ("(created_at) where deleted_at = 0", "warn"),
        ("((created_at at time zone 'UTC'))", "warn"),
        ("using brin (created_at)", "warn"),
    ],
)
def test_an_index_counts_if_it_leads_with_the_columns_and_holds_the_rows(
    big_offers: Database, tmp_path: Path, index: str, word: str
) -> None:
    big_offers.execute(f"create index on offers {index}")
    assert told(big_offers, tmp_path)[OFFERS] == word


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ("", "ok"),
        ("where deleted_at = 0", "ok"),
        ("where is_offer_idea and deleted_at = 0", "ok"),
        ("where deleted_at = 1", "warn"),
        ("where offer_status = 'OPEN'", "warn"),
    ],
)
def test_a_partial_index_counts_if_what_is_declared_implies_its_predicate(
    big_offers: Database, tmp_path: Path, where: str, word: str
) -> None:
    project = shipped_project(tmp_path / "p")
    path = project / "models" / "sources.yml"
    declared = "{columns: [created_at], where: {deleted_at: 0, is_offer_idea: true}}"
    text = path.read_text()
    start = text.index("- name: offers\n")
    text = text[:start] + text[start:].replace("{columns: [created_at]}", declared, 1).replace(
        "        columns:\n",
        "        columns:\n          - {name: deleted_at}\n          - {name: is_offer_idea}\n",
        1,
    )
    path.write_text(text)
    big_offers.execute(f"create index on offers (created_at) {where}")
    said = told(big_offers, tmp_path, project)
    assert said[f"{OFFERS} where deleted_at = 0 and is_offer_idea"] == word


def test_an_index_that_failed_to_build_does_not_count(big_offers: Database, tmp_path: Path) -> None:
    big_offers.execute("create index broken on offers (created_at)")
    big_offers.execute(
        "update pg_index set indisvalid = false where indexrelid = 'broken'::regclass"
    )
    assert told(big_offers, tmp_path)[OFFERS] == "warn"


def test_small_tables_need_no_index(golden: Database, tmp_path: Path) -> None:
    said = told(golden, tmp_path)
    assert said[OFFERS] == "ok"
    assert set(said.values()) == {"ok"}


def test_a_declared_index_names_columns_that_are_listed(tmp_path: Path) -> None:
    project = shipped_project(tmp_path / "p")
    path = project / "models" / "sources.yml"
    path.write_text(path.read_text().replace("{columns: [created_at]}", "{columns: [create_at]}"))
    line = path.read_text()[: path.read_text().index("create_at")].count("\n") + 1
    with pytest.raises(ProjectError) as caught:
        load_project(project)
    assert str(caught.value) == (
        f"models/sources.yml:{line}: an index of offers names 'create_at', which is not a column listed "
        "here; did you mean created_at?"
    )
