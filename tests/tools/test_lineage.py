"""Column lineage: right where the SQL tells it, "not known" where it does not, never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.project.load import load_project
from runner.sql.compile import compile_audience
from runner.tools.docs.graph import UNKNOWN, Origin, Origins, SourceColumn, column_origins
from tests.support import AS_OF, ROOT, tiny_project

SOURCES = """
sources:
  - name: app
    tables:
      - {name: users, columns: [{name: id}, {name: Name}, {name: tags}, {name: data}]}
      - {name: items, columns: [{name: id}, {name: user_id}, {name: kind}]}
"""
USERS = "{{ source('app', 'users') }}"
ITEMS = "{{ source('app', 'items') }}"


def origins(folder: Path, sql: str, people: str = "select 1 as user_id, 'x' as name") -> Origins:
    project = tiny_project(folder / "p", first_file=sql, people=people)
    (project / "models" / "sources.yml").write_text(SOURCES)
    return column_origins(compile_audience(load_project(project), "tiny", {}, AS_OF))["first_file"]


def from_columns(*names: str) -> Origin:
    return Origin(frozenset(SourceColumn(*name.split(".")) for name in names))


def said(text: str, model: str = "first_file") -> Origin:
    return Origin(expressions=frozenset({(text, model)}))


@pytest.mark.parametrize(
    ("expression", "origin"),
    [
        ("users.id", from_columns("app.users.id")),
        ('users."Name"', from_columns("app.users.Name")),
        ("coalesce(users.\"Name\", 'none')", from_columns("app.users.Name")),
        ("users.data #>> '{a,b}'", from_columns("app.users.data")),
        (
            "case when items.kind = 'a' then items.id else users.id end",
            from_columns("app.items.kind", "app.items.id", "app.users.id"),
        ),
        ("max(items.kind) over (partition by users.id)", from_columns("app.items.kind", "app.users.id")),
        (f"(select max(other.kind) from {ITEMS} as other)", from_columns("app.items.kind")),
        ("'constant'", said("'constant'")),
        ("count(*) over ()", said("count(*) OVER ()")),
        ("to_jsonb(users)", UNKNOWN),
        (f"exists (select 1 from {ITEMS} as other)", UNKNOWN),
    ],
)  # fmt: skip
def test_a_columns_origin_is_every_column_that_its_expression_reads(
    tmp_path: Path, expression: str, origin: Origin
) -> None:
    join = f"{USERS} as users inner join {ITEMS} as items on users.id = items.user_id"
    found = origins(tmp_path, f"select users.id as user_id, {expression} as name from {join}")
    assert found["name"] == origin


def test_select_star_has_the_columns_of_what_is_read(tmp_path: Path) -> None:
    found = origins(tmp_path, f"with users as (select * from {USERS}) select * from users")
    assert list(found) == ["id", "Name", "tags", "data"]
    assert found["Name"] == from_columns("app.users.Name")


def test_the_arms_of_a_union_are_taken_together(tmp_path: Path) -> None:
    sql = f"select id as user_id, kind as name from {ITEMS} union all select id, 'x' from {USERS}"
    found = origins(tmp_path, sql)
    assert found["user_id"] == from_columns("app.items.id", "app.users.id")
    assert found["name"] == Origin(from_columns("app.items.kind").columns, said("'x'").expressions)


def test_origins_go_through_models_and_name_the_model_that_says_a_constant(tmp_path: Path) -> None:
    people = f"select id as user_id, 'x' as name, count(*) as many from {USERS} group by id"
    found = origins(tmp_path, "select * from {{ ref('people') }}", people)
    assert found == {
        "user_id": from_columns("app.users.id"),
        "name": said("'x'", "people"),
        "many": said("count(*)", "people"),
    }


@pytest.mark.parametrize(
    "sql",
    [
        "select user_id, name from generate_series(1, 3) as given (user_id), (values ('a')) as v (name)",
        f"select id as user_id, hidden as name from {USERS}",
        f"select id as user_id, Name as name from {USERS}",
        "select user_id, name from public.undeclared",
        "select * from public.undeclared",
        f"with recursive r as (select id, 1 as n from {USERS} union all select id, n + 1 from r where n < 3) select id as user_id, n as name from r",
        f"select users.id as user_id, made.name from {USERS} as users, jsonb_to_recordset(users.data) as made (name text)",
    ],
)  # fmt: skip
def test_what_the_sql_does_not_tell_is_not_known(tmp_path: Path, sql: str) -> None:
    assert origins(tmp_path, sql).get("name", UNKNOWN) == UNKNOWN


def test_what_rests_on_the_unknown_is_not_known_and_the_rest_is(tmp_path: Path) -> None:
    people = f"select users.id as user_id, to_jsonb(users) as name from {USERS} as users"
    found = origins(tmp_path, "select user_id, name, 1 as one from {{ ref('people') }}", people)
    assert found == {"user_id": from_columns("app.users.id"), "name": UNKNOWN, "one": said("1")}


def test_every_file_column_of_the_shipped_audience_is_traced_to_its_source() -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    found = column_origins(compiled)["layer3_closet_adders"]
    marketplace = {
        name: sorted(str(column).removeprefix("marketplace.") for column in origin.columns)
        for name, origin in found.items()
        if origin.is_known
    }
    assert marketplace == {
        "user_id": ["users.id"],
        "username": ["users.username"],
        "firstName": ["users.first_name"],
        "usersize": ["attribute_values.value"],
        "relevant_variant_size": ["product_variants.index_cache"],
        "product_name": ["products.name"],
        "variantID": [
            "inventory_items.product_variant_id",
            "offer_items.id",
            "offer_items.product_variant_id",
            "wishlist_items.product_variant_id",
        ],
        "lastActive": ["user_activities.last_active"],
        "wishlist_count": [],
        "newest_activity_at": [
            "inventory_items.created_at",
            "offers.created_at",
            "users.id",  # the newest of each user
            "wishlist_items.created_at",
        ],
    }
    assert ("count(*)", "layer3_wishlist_counts") in found["wishlist_count"].expressions
