"""`explain`: every step's plan, and index advice that helps; nothing is run unless asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.project.load import load_project
from runner.sql.compile import compile_audience
from runner.sql.plan import Plan
from runner.tools.explain import explain as explanation
from runner.tools.explain.explain import Explanation, explain
from runner.tools.explain.plans import Node
from tests.cli.test_commands import invoke
from tests.support import AS_OF, ROOT, Database, run_layer3, tiny_project

HELPFUL = [
    "create index concurrently on public.inventory_items (created_at) where status = 'OPEN_FOR_TRADE';",
    "create index concurrently on public.offers (created_at);",
    "create index concurrently on public.wishlist_items (created_at) where deleted_at = 0;",
]


def explained(database: Database, *, analyze: bool = True, **options: Any) -> Explanation:
    target = options.pop("target", None) or database.target()
    given = {"as_of": AS_OF, "analyze": analyze, **options}
    return explain(load_project(ROOT), "layer3-behavior", target, **given)


def advised(explanation: Explanation) -> list[str]:
    return sorted(one.index.statement for one in explanation.advice)


@pytest.fixture
def big(golden: Database) -> Database:
    """Old offers, closets and wishes enough to make a scan of their tables worth avoiding."""
    golden.execute("set session_replication_role to replica")
    old = "now() - interval '20 years', md5(n::text)::uuid from generate_series(1, {}) as g (n)"
    item = "md5('v' || n)::uuid, "
    golden.execute(f"insert into offers (created_at, creator_user_id) select {old.format(120_000)}")
    golden.execute(
        "insert into offer_items (offer_id, product_variant_id, offer_item_owner) "
        "select id, md5(id::text)::uuid, 'CREATOR' from offers"
    )
    for table, column, value in (
        ("inventory_items", "status", "'OPEN_FOR_TRADE'"),
        ("wishlist_items", "deleted_at", "0"),
    ):
        golden.execute(
            f"insert into {table} ({column}, product_variant_id, created_at, user_id) "
            f"select {value}, {item}{old.format(90_000)}"
        )
    golden.execute("set session_replication_role to origin")
    golden.execute("vacuum analyze")
    return golden


def scanned(explanation: Explanation) -> set[str]:
    """Source tables that are read whole where recent activity is looked for."""
    plans = [plan for step, plan in explanation.steps if "recent_activity" in step.label]
    nodes = [node for plan in plans for node in plan.top.walk()]
    return {node.raw["Relation Name"] for node in nodes if node.kind == "Seq Scan"}


# Plans


def test_every_statement_of_a_run_that_reads_is_explained(golden: Database) -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    names = [step.label for step in Plan(compiled, AS_OF).steps]
    made = len(compiled.tables) + len(compiled.audience.funnel) + 2 * 3
    tests = [name for name in names if name.startswith("test")]
    assert len(names) == made + len(tests) - 3
    assert {"tests of layer3_enriched", "test layer3_pushes_answer_the_window"} <= set(tests)
    assert sorted(step.label for step, _ in explained(golden).steps) == sorted(names)


def test_rows_are_those_of_a_run_and_the_slowest_step_is_first(
    golden: Database, tmp_path: Path
) -> None:
    made = explained(golden)
    result = run_layer3(golden, tmp_path)
    rows = {step.label: plan.source.rows for step, plan in made.steps}
    for file in (one for one in result.csv_files if not one.is_test_file):
        assert rows[f"file: {file.path.name.split('_')[0]}"] == file.row_count
    assert rows["table: layer3_prioritized"] == 323
    times = [plan.milliseconds for _, plan in made.steps]
    assert None not in times
    assert times == sorted(times, reverse=True)
    assert all(plan.buffers.hit + plan.buffers.read > 0 for _, plan in made.steps)


def test_without_analyze_nothing_is_executed_and_nothing_counted(
    database: Database, tmp_path: Path
) -> None:
    people = (
        "select n as user_id, 'x' as name, 1 / (n - 3) as x from generate_series(1, 3) as g (n)"
    )
    project = tiny_project(tmp_path / "p", people=people)
    made = explain(load_project(project), "tiny", database.target(), as_of=AS_OF)
    assert {plan.milliseconds for _, plan in made.steps} == {None}
    assert made.as_json()["steps"][0]["rows"] is None
    costs = [plan.cost for _, plan in made.steps]
    assert costs == sorted(costs, reverse=True)


def test_where_no_temp_table_may_be_made_the_one_statement_is_explained(
    golden: Database, role: str
) -> None:
    golden.execute(f"grant select on all tables in schema public to {role}")
    name = golden.value("select current_database()")
    golden.execute(f'revoke temp on database "{name}" from public')
    made = explained(golden, target=golden.target(user=role, password="reader secret"))
    assert made.working_tables == "inlined (no TEMP privilege)"
    ((step, plan),) = made.steps
    assert step.label == "all steps in one statement"
    assert plan.source.rows > 216  # a row for each user in a file, and a few more


def test_with_citus_every_plan_is_rolled_back_and_the_tables_are_filled_all_the_same(
    golden: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {step.label: plan.source.rows for step, plan in explained(golden).steps}
    monkeypatch.setattr(explanation, "_has_extension", lambda snapshot, name: name == "citus")
    assert {step.label: plan.source.rows for step, plan in explained(golden).steps} == plain


def test_rows_of_all_loops_and_workers_are_added_up() -> None:
    scan = {
        "Node Type": "Seq Scan", "Parallel Aware": True, "Plan Rows": 100, "Actual Rows": 40,
        "Actual Loops": 3, "Actual Total Time": 2.0, "Rows Removed by Filter": 10,
    }  # fmt: skip
    gather = {
        "Node Type": "Gather",
        "Parallel Aware": False,
        "Plan Rows": 240,
        "Workers Planned": 2,
    }
    (node,) = Node({**gather, "Plans": [scan]}).children
    assert (node.rows, node.removed, node.milliseconds) == (120, 30, 6.0)
    assert node.expected_rows == 240


# Advice


@pytest.mark.parametrize("analyze", [True, False])
def test_advice_is_what_helps_and_no_more(big: Database, analyze: bool) -> None:
    made = explained(big, analyze=analyze)
    assert advised(made) == HELPFUL
    assert scanned(made) >= {"offers", "inventory_items", "wishlist_items"}
    for one in made.advice:
        (use,) = one.uses
        assert use.step == "table: layer3_recent_activity"
        assert use.rows < 2500 < 90_000 < use.table_rows
    for statement in HELPFUL:
        big.execute(statement)
    big.execute("analyze")
    made = explained(big, analyze=analyze)
    assert advised(made) == []
    assert not scanned(made) & {"offers", "inventory_items", "wishlist_items"}


def test_small_tables_get_no_advice(golden: Database) -> None:
    made = explained(golden)
    assert "offers" in scanned(made)
    assert made.advice == ()


def test_a_filter_that_lets_much_through_gets_no_advice(big: Database) -> None:
    long_ago = {"lookback_hours": "87600", "cooling_hours": "0"}
    big.execute("update offers set created_at = timestamptz '2025-01-01'")
    big.execute("vacuum full analyze offers")
    assert advised(explained(big, parameters=long_ago)) == [HELPFUL[0], HELPFUL[2]]


def test_a_join_that_finds_little_in_a_big_table_gets_advice(
    database: Database, tmp_path: Path
) -> None:
    database.execute(
        "create table visits as select n as visit_id, n % 50000 as visitor from generate_series(1, 300000) as g (n)"
    )
    database.execute("analyze visits")
    visits = "select people.user_id, people.name from {{ ref('people') }} as people inner join {{ source('app', 'visits') }} as visits on people.user_id = visits.visitor"
    project = tiny_project(tmp_path / "p", first_file=visits)
    source = "sources: [{name: app, tables: [{name: visits, columns: [{name: visitor}]}]}]"
    (project / "models" / "sources.yml").write_text(source)
    made = explain(load_project(project), "tiny", database.target(), as_of=AS_OF, analyze=True)
    assert advised(made) == ["create index concurrently on public.visits (visitor);"]
    database.execute(advised(made)[0])
    made = explain(load_project(project), "tiny", database.target(), as_of=AS_OF, analyze=True)
    assert advised(made) == []


# The command


@pytest.fixture
def options(golden: Database, tmp_path: Path) -> list[object]:
    profile = golden.profile(tmp_path / "profile")
    return ["--profiles-dir", profile, "--project-dir", ROOT, "--as-of", AS_OF.isoformat()]


def test_it_says_that_nothing_was_executed(options: list[object]) -> None:
    code, stdout, stderr = invoke("explain", "layer3-behavior", *options)
    assert (code, stderr) == (0, "")
    assert " steps, nothing was executed" in stdout.splitlines()[0]
    assert stdout.splitlines()[1].startswith("Working tables are empty here")
    assert "(models/layer3_behavior/layer3_prioritized.sql)" in stdout
    assert "No index is advised" in stdout.splitlines()[-1]


def test_json_is_one_document_with_the_plans(options: list[object]) -> None:
    code, stdout, _ = invoke("explain", "layer3-behavior", *options, "--analyze", "--json")
    document = json.loads(stdout)
    assert (code, document["analyzed"]) == (0, True)
    assert len(document["steps"]) > 20
    step = document["steps"][0]
    assert step["plan"]["Plan"]["Actual Rows"] >= 0
    assert set(step["buffers"]) == {"hit", "read", "spilled"}


def test_advice_is_shown_with_what_it_would_find(big: Database, options: list[object]) -> None:
    _, stdout, _ = invoke("explain", "layer3-behavior", *options, "--analyze")
    shown = stdout.split("Indexes that would spare these steps")[1].splitlines()
    assert sorted(line for line in shown if line.startswith("create")) == HELPFUL
    assert " of 120,900 rows, " in stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["layer4"], 2, "there is no audience 'layer4'; "),
        (["layer3-behavior", "--var", "nope=1"], 2, "audience layer3-behavior has no parameter"),
        (["layer3-behavior", "--as-of", "now"], 2, "--as-of 'now' is not a date and time; "),
    ],
)
def test_bad_input_is_one_line(
    options: list[object], arguments: list[str], code: int, message: str
) -> None:
    given = [one for one in options if one not in ("--as-of", AS_OF.isoformat())]
    done = invoke("explain", *arguments, *given)
    assert done[0] == code
    assert done[2].startswith(f"error: {message}")
    assert len(done[2].splitlines()) == 1


def test_a_model_that_cannot_run_is_an_error_with_its_place(
    database: Database, tmp_path: Path
) -> None:
    arguments = ["--profiles-dir", database.profile(tmp_path / "profile"), "--project-dir"]
    broken = tiny_project(tmp_path / "p", people="select\n    n as user_idd\nfrom nothing as g (n)")
    code, _, stderr = invoke("explain", "tiny", *arguments, broken)
    assert code == 1
    assert stderr.startswith('error: models/people.sql:3:6: relation "nothing" does not exist')
    people = (
        "select n as user_id, 'x' as name, 1 / (n - 3) as x from generate_series(1, 3) as g (n)"
    )
    dividing = tiny_project(tmp_path / "q", people=people)
    code, _, stderr = invoke("explain", "tiny", *arguments, dividing, "--analyze")
    assert code == 1
    assert stderr.startswith("error: models/people.sql:1:")
    assert ": division by zero" in stderr.splitlines()[0]
    assert "Traceback" not in stderr
