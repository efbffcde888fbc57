"""`trace`: what became of a user, at which model's line, and in which words."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from runner.cli.commands.trace import answer_text
from runner.errors import ProjectError, UsageError
from runner.project.load import load_project
from runner.tools.trace.trace import Answer, Trace, trace
from tests.cases import parsed
from tests.cli.test_commands import invoke
from tests.support import (
    AS_OF,
    GOLDEN,
    ROOT,
    Database,
    Marketplace,
    hours_ago,
    shipped_project,
    tiny_project,
)

SHIPPED = load_project(ROOT)
MODELS = ROOT / "models" / "layer3_behavior"


def ask(
    database: Database,
    *users: object,
    project: Path = ROOT,
    audience: str = "layer3-behavior",
    unmask: bool = False,
    **parameters: object,
) -> Answer:
    loaded = SHIPPED if project == ROOT else load_project(project)
    given = {name: str(value) for name, value in parameters.items()}
    keys = [str(user) for user in users]
    return trace(loaded, audience, database.target(), keys, given, AS_OF, unmask=unmask)


def told(answer: Answer) -> list[str]:
    return [answer.summary(one) for one in answer.traces]


def step_of(one: Trace, model: str) -> Any:
    return next(step for step in one.steps if step.model == model)


def line_of(file: Path, text: str) -> int:
    """The last line of a file that holds a text, from 1."""
    lines = file.read_text().splitlines()
    return max(number for number, line in enumerate(lines, start=1) if text in line)


@pytest.fixture
def market(database: Database) -> Marketplace:
    market = Marketplace()
    market.shoe = market.variant()
    market.supply(market.shoe, 5)
    market.want(market.shoe, 5)
    return market


# One user of each fate


def test_an_exported_user_is_named_with_type_and_file(
    market: Marketplace, database: Database
) -> None:
    user = market.user()
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    answer = ask(database, user)
    assert told(answer) == ["exported as closet_add to recent-closet-adders"]
    assert [
        len(step_of(answer.traces[0], one).rows)
        for one in ("layer3_enriched", "layer3_closet_adders")
    ] == [1, 1]


def test_a_user_without_any_action_has_none_in_the_window(
    market: Marketplace, database: Database
) -> None:
    user = market.user()
    market.load(database)
    answer = ask(database, user)
    (reason,) = answer.traces[0].reasons
    assert reason.model == "layer3_recent_activity"
    assert reason.text == "no action from 2025-11-27T00:00:00Z up to 2025-11-28T00:00:00Z"
    assert reason.where.path.name == "layer3_recent_activity.sql"
    places = {"in_layer3_window": reason.where, "run_started_at": reason.where.macro}
    for word, place in places.items():
        assert word in (ROOT / place.path).read_text().splitlines()[place.line - 1]
    assert answer.traces[0].outside == []


def test_actions_outside_the_window_say_when_they_count(
    market: Marketplace, database: Database
) -> None:
    user = market.user()
    market.wish(user, market.shoe, hours_ago(3))
    market.offer(user, [market.shoe], hours_ago(50))
    market.closet(user, market.shoe, hours_ago(10_000))
    market.load(database)
    answer = ask(database, user)
    actions = answer.traces[0].outside
    assert [one.row["action_type"] for one in actions] == [
        "wishlist_add",
        "offer_created",
        "closet_add",
    ]
    assert (actions[0].after, actions[0].until) == (hours_ago(-9), hours_ago(-33))
    assert (actions[1].after, actions[1].until) == (hours_ago(38), hours_ago(14))
    text = answer_text(answer, mark="")
    assert "too recent: wishlist_add of 2025-11-28T09:00:00Z, which will count in runs" in text
    assert "too old: offer_created of 2025-11-26T10:00:00Z, which counted in runs" in text


@pytest.mark.parametrize(("edge", "is_in"), [(36, True), (12, False)])
def test_the_bounds_told_are_the_windows_own(
    market: Marketplace, database: Database, edge: int, is_in: bool
) -> None:
    user = market.user()
    market.closet(user, market.shoe, hours_ago(edge))
    market.load(database)
    answer = ask(database, user)
    assert (answer.traces[0].fate == "exported") is is_in
    for action in answer.traces[0].outside:
        assert action.after == AS_OF, "it counts in runs after this one, not in this one"


def test_a_stronger_action_is_exported_and_the_weaker_ones_are_named(
    market: Marketplace, database: Database
) -> None:
    user = market.user()
    market.offer(user, [market.shoe], hours_ago(30))
    market.closet(user, market.shoe, hours_ago(20))
    market.wish(user, market.shoe, hours_ago(13))
    market.load(database)
    answer = ask(database, user)
    (words,) = told(answer)
    assert words.startswith(
        "exported as offer_created to recent-offer-creators; left out: wishlist_add of "
        "2025-11-27T23:00:00Z, closet_add of 2025-11-27T16:00:00Z: weaker than another action"
    )
    line = line_of(MODELS / "layer3_candidates.sql", "row_number()")
    assert f"layer3_candidates.sql:{line}" in words
    assert step_of(answer.traces[0], "layer3_candidates").rows[0]["action_type"] == "offer_created"


def test_low_demand_is_told_with_both_numbers_at_the_rules_line(
    market: Marketplace, database: Database
) -> None:
    user, rare = market.user(), market.variant()
    market.supply(rare, 2)
    market.wish(user, rare, hours_ago(20))
    market.load(database)
    line = line_of(MODELS / "layer3_prioritized.sql", "as keep_demand")
    (words,) = told(ask(database, user))
    assert words.startswith(
        "not exported: wishlist_add with demand 2, below min_inventory_count 3 "
        f"(models/layer3_behavior/layer3_prioritized.sql:{line}"
    )
    assert told(ask(database, user, min_inventory_count=2))[0].startswith(
        "exported as wishlist_add"
    )


def test_a_next_best_action_that_steps_in_leaves_the_strongest_out(
    market: Marketplace, database: Database
) -> None:
    user, rare = market.user(), market.variant()
    market.offer(user, [rare], hours_ago(30))
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    strict, lenient = ask(database, user), ask(database, user, use_next_best_action="true")
    assert "offer_created with demand 0, below min_inventory_count 3" in told(strict)[0]
    assert told(lenient)[0].startswith(
        "exported as closet_add to recent-closet-adders; left out: offer_created of "
        "2025-11-27T06:00:00Z: of the actions in demand the strongest is chosen"
    )


def test_a_deleted_user_is_told_from_an_unknown_one(
    market: Marketplace, database: Database
) -> None:
    user = market.user(deleted_at=1)
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    deleted, unknown = told(ask(database, user, uuid.UUID(int=7)))
    line = line_of(ROOT / "models/staging/stg_users.sql", "where deleted_at = 0")
    assert deleted == f"not exported: the user is deleted (models/staging/stg_users.sql:{line}:1)"
    assert unknown == "unknown: marketplace.users has no such id"


def test_an_incomplete_profile_is_lost_only_with_the_parameter(
    market: Marketplace, database: Database
) -> None:
    user = market.user(first_name="  ", sizes=["9"])
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    line = line_of(MODELS / "layer3_enriched.sql", "as keep_profile")
    assert told(ask(database, user))[0].startswith("exported")
    (words,) = told(ask(database, user, require_complete_profile="true"))
    assert words.startswith(
        "not exported: the profile has no first name, which require_complete_profile asks for "
        f"(models/layer3_behavior/layer3_enriched.sql:{line}"
    )


def test_a_profile_is_not_looked_at_where_the_action_is_not_in_demand(
    market: Marketplace, database: Database
) -> None:
    user = market.user(first_name=None)
    market.closet(user, market.variant(), hours_ago(20))
    market.load(database)
    (found,) = ask(database, user, require_complete_profile="true").traces
    assert [reason.model for reason in found.reasons] == ["layer3_prioritized"]
    assert step_of(found, "layer3_enriched").rows == []


# Honesty


def test_trace_agrees_with_the_golden_files_on_every_user(golden: Database) -> None:
    users = [str(row[0]) for row in golden.execute("select id from users").fetchall()]
    answer = ask(golden, *users)
    fates = {one.user: [output.file for output in one.exports] for one in answer.traces}
    assert len(fates) == len(users)
    published = {
        row[0]: output.file
        for output in SHIPPED.audience("layer3-behavior").outputs
        for row in parsed(GOLDEN / "layer3_behavior/lookback_48_cooling_12" / f"{output.file}.csv")[
            1:
        ]
    }
    assert len(published) == 216
    assert {user: files for user, files in fates.items() if files} == {
        user: [file] for user, file in published.items()
    }
    assert all(one.reasons for one in answer.traces if one.fate == "left out")


def test_personal_values_are_masked_unless_asked_for(
    market: Marketplace, database: Database
) -> None:
    user = market.user(
        username="secretname", first_name="Zebedee", sizes=["9"], last_active=hours_ago(1)
    )
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    masked, plain = ask(database, user), ask(database, user, unmask=True)
    for text in (answer_text(masked, mark=""), json.dumps(masked.as_json())):
        assert "Zebedee" not in text
        assert "secretname" not in text
        assert str(user) in text
    assert "Zebedee" in answer_text(plain, mark="")


def test_a_value_cannot_command_the_terminal(market: Marketplace, database: Database) -> None:
    user = market.user(first_name="\x1b[31mred\nline")
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    text = answer_text(ask(database, user, unmask=True), mark="")
    assert "\x1b" not in text
    assert r"'\x1b[31mred\nline'" in text


def test_the_same_user_twice_is_answered_once(market: Marketplace, database: Database) -> None:
    user = market.user()
    market.load(database)
    answer = ask(database, user, str(user).upper(), f"{{{user}}}")
    assert [one.user for one in answer.traces] == [str(user)]


def test_without_temp_tables_the_answer_is_the_same(
    market: Marketplace, database: Database, role: str
) -> None:
    users = [market.user(), market.user(), market.user()]
    market.closet(users[0], market.shoe, hours_ago(20))
    market.wish(users[1], market.variant(), hours_ago(20))
    market.load(database)
    name = database.connection.info.dbname
    database.execute(f"grant select on all tables in schema public to {role}")
    database.execute(f"revoke temp on database {name} from public")
    with_tables = ask(database, *users).as_json()
    target = database.target(user=role, password="reader secret")
    keys = [str(user) for user in users]
    answer = trace(SHIPPED, "layer3-behavior", target, keys, {}, AS_OF)
    assert not answer.compiled.can_build
    assert answer.as_json() == with_tables


# Any audience


def keyed(folder: Path, trace_block: str = "", **models: str) -> Path:
    """The tiny audience with what `trace` may know of it."""
    project = tiny_project(folder, **models)
    path = project / "models" / "tiny.yml"
    path.write_text(
        path.read_text().replace("    activity_model:", f"{trace_block}    activity_model:")
    )
    return project


def test_an_audience_that_declares_nothing_can_be_traced(
    database: Database, tmp_path: Path
) -> None:
    answer = ask(database, 1, 3, 9, project=tiny_project(tmp_path), audience="tiny")
    assert told(answer)[:2] == ["exported as first to first", "exported as second to second"]
    assert told(answer)[2].startswith(
        "not exported: people has no row of this user: select n as user_id"
    )


def test_a_users_step_is_lost_where_no_rule_column_says_why(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path, second_file="select *\nfrom {{ ref('people') }}\n\nwhere user_id > 3"
    )
    (words,) = told(ask(database, 3, project=project, audience="tiny"))
    assert words == (
        "not exported: first_file has no row of this user: where user_id < 3 (models/first_file.sql:3:1); "
        "second_file has no row of this user: where user_id > 3 (models/second_file.sql:4:1)"
    )


JOINED = {
    "extras": "select user_id, 'x' as extra from {{ ref('people') }} where user_id = 1",
    "joined": (
        "with extras as (select * from {{ ref('extras') }})\n"
        "select people.* from {{ ref('people') }} as people\n"
        "{join} join extras on people.user_id = extras.user_id\n"
        "where people.user_id <> 2"
    ),
    "first_file": "select * from {{ ref('joined') }}",
    "second_file": "select * from {{ ref('joined') }} where user_id < 0",
}


@pytest.mark.parametrize(("join", "lost_at"), [("left", "joined"), ("inner", "extras")])
def test_a_left_join_loses_nobody_and_an_inner_join_does(
    database: Database, tmp_path: Path, join: str, lost_at: str
) -> None:
    models = {**JOINED, "joined": JOINED["joined"].replace("{join}", join)}
    answer = ask(database, 2, project=tiny_project(tmp_path, **models), audience="tiny")
    assert [one.model for one in answer.traces[0].reasons] == [lost_at]


def test_who_is_not_on_a_list_of_exclusions_is_not_lost_by_that(
    database: Database, tmp_path: Path
) -> None:
    blocked = "select user_id from {{ ref('people') }} where user_id = 1"
    first = (
        "select * from {{ ref('people') }} where user_id not in "
        "(select user_id from {{ ref('blocked') }}) and user_id <> 2"
    )
    project = tiny_project(
        tmp_path,
        blocked=blocked,
        first_file=first,
        second_file="select * from {{ ref('first_file') }} where user_id < 0",
    )
    answer = ask(database, 2, project=project, audience="tiny")
    assert [one.model for one in answer.traces[0].reasons] == ["first_file"]


def test_any_declared_column_is_a_rule_and_speaks_the_parameters(
    database: Database, tmp_path: Path
) -> None:
    block = (
        "    trace:\n      reasons:\n        - model: judged\n          column: is_tall\n"
        "          says: user {{ row.user_id }} has {{ row.height }}, below {{ least }}\n"
    )
    project = keyed(
        tmp_path,
        block,
        judged="select *, user_id * 10 as height, user_id * 10 >= {{ var('least') }} as is_tall\nfrom {{ ref('people') }}",
        first_file="select * from {{ ref('judged') }} where is_tall",
        second_file="select * from {{ ref('judged') }} where is_tall and user_id < 0",
    )
    path = project / "models" / "tiny.yml"
    parameter = "{name: least, type: integer, default: 20, description: x}"
    path.write_text(path.read_text().replace("parameters: []", f"parameters: [{parameter}]"))
    (words,) = told(ask(database, 1, project=project, audience="tiny", least=15))
    assert words == "not exported: user 1 has 10, below 15 (models/judged.sql:1:73)"


def test_a_foreign_window_is_widened_by_its_own_parameters(
    database: Database, tmp_path: Path
) -> None:
    block = (
        '    window: {start_hours_ago: days * 24, end_hours_ago: "0"}\n'
        "    trace: {time: seen_at, widen: {days: 1000}}\n"
    )
    project = keyed(
        tmp_path,
        block,
        people=(
            "select n as user_id, 'name' as name, '{{ run_started_at }}'::timestamptz "
            "- interval '1 day' * n as seen_at\nfrom generate_series(1, 9) as given (n)\n"
            "where n <= {{ var('days') }}"
        ),
    )
    path = project / "models" / "tiny.yml"
    parameter = "{name: days, type: integer, default: 3, description: x}"
    path.write_text(path.read_text().replace("parameters: []", f"parameters: [{parameter}]"))
    answer = ask(database, 5, project=project, audience="tiny")
    (action,) = answer.traces[0].outside
    assert (action.at, action.after, action.until) == (
        hours_ago(120),
        hours_ago(120),
        hours_ago(48),
    )


def test_a_side_list_that_reads_the_keys_source_drops_nobody(
    database: Database, tmp_path: Path
) -> None:
    database.execute(
        "insert into users (id, username, deleted_at) select md5(n::text)::uuid, 'u' || n, 0 "
        "from generate_series(1, 3) as given (n)"
    )
    block = "    trace: {key_source: {source: app, table: users, column: id}}\n"
    project = keyed(
        tmp_path,
        block,
        vips="select id as user_id from {{ source('app', 'users') }} where username = 'u1'",
        people=(
            "select users.id as user_id, users.username as name from {{ source('app', 'users') }} "
            "as users left join {{ ref('vips') }} as vips on users.id = vips.user_id\n"
            "where users.username <> 'u3'"
        ),
        first_file="select * from {{ ref('people') }}",
        second_file="select * from {{ ref('people') }} where false",
    )
    with open(project / "models" / "tiny.yml", "a") as file:
        file.write(
            "sources: [{name: app, schema: public, tables: [{name: users, columns: "
            "[{name: id}, {name: username}]}]}]\n"
        )
    third = database.value("select id from users where username = 'u3'")
    answer = ask(database, third, uuid.UUID(int=7), project=project, audience="tiny")
    lost, unknown = told(answer)
    assert lost.startswith(
        "not exported: people has no row of this user: where users.username <> 'u3'"
    )
    assert unknown == "unknown: app.users has no such id"


SHOWN = {
    "shown": "select n as product_id from generate_series(7, 9) as given (n)",
    "stg_people": (
        "select id as user_id, username as name, first_name from {{ source('app', 'users') }}\n"
        "where deleted_at = 0"
    ),
    "stg_gone": "select id as user_id from {{ source('app', 'users') }} where deleted_at <> 0",
    "stg_owners": (
        "select users.id as user_id, users.first_name from {{ source('app', 'users') }} as users\n"
        "left join {{ ref('stg_gone') }} as gone on users.id = gone.user_id\n"
        "where gone.user_id is null and users.username <> 'u2'"
    ),
    "people": (
        "select people.user_id, people.name, owners.first_name = 'yes' as keep_name\n"
        "from {{ ref('stg_people') }} as people\n"
        "inner join {{ ref('stg_owners') }} as owners on people.user_id = owners.user_id"
    ),
    "first_file": "select * from {{ ref('people') }} where keep_name",
    "second_file": "select * from {{ ref('people') }} where keep_name and false",
}


@pytest.mark.parametrize("activity_model", ["shown", "false"])
@pytest.mark.parametrize("has_others", [True, False])
def test_without_a_key_in_the_activity_model_users_are_followed_from_the_files(
    database: Database, tmp_path: Path, activity_model: str, has_others: bool
) -> None:
    database.execute(
        "insert into users (id, username, first_name, deleted_at) select md5(n::text)::uuid, 'u' || n, "
        "case when n = 3 then 'no' else 'yes' end, case when n = 4 then 1 else 0 end "
        f"from generate_series({1 if has_others else 2}, 4) as given (n)"
    )
    block = "    trace: {key_source: {source: app, table: users, column: id}}\n"
    project = keyed(tmp_path, block, **SHOWN)
    path = project / "models" / "tiny.yml"
    text = path.read_text().replace("activity_model: people", f"activity_model: {activity_model}")
    columns = "[{name: id}, {name: username}, {name: first_name}, {name: deleted_at}]"
    path.write_text(
        f"{text}sources: [{{name: app, schema: public, tables: [{{name: users, columns: {columns}}}]}}]\n"
    )
    users = [database.value(f"select md5('{n}')::uuid") for n in (1, 2, 3, 4, 5)]
    answer = ask(database, *users, project=project, audience="tiny")
    exported, _, filtered, deleted, unknown = told(answer)
    if has_others:
        assert exported == "exported as first to first"
        (reason,) = answer.traces[1].reasons
        assert (reason.model, reason.where.line) == ("stg_owners", 3)
    assert filtered == "not exported: keep_name is not true (models/people.sql:1:66)"
    assert deleted == (
        "not exported: stg_people has no row of this user: where deleted_at = 0 "
        "(models/stg_people.sql:2:1)"
    )
    assert unknown == "unknown: app.users has no such id"
    with pytest.raises(
        UsageError, match=r"'abc' is not of type uuid; user_id of first_file has this type"
    ):
        ask(database, "abc", project=project, audience="tiny")


# Bad input


def test_a_user_that_the_keys_type_does_not_know_is_refused(database: Database) -> None:
    with pytest.raises(
        UsageError,
        match="the user 'abc' is not of type uuid; user_id of layer3_recent_activity has this type",
    ):
        ask(database, "abc")


@pytest.mark.parametrize("user", ["", "   ", "a\nb", "a\0b", "\udcff"])
def test_an_empty_or_unprintable_user_is_refused_before_connecting(user: str) -> None:
    from runner.project.targets import Target

    nowhere = Target(name="nowhere", type="postgres", host="/nowhere")
    with pytest.raises(UsageError, match="is empty or not printable"):
        trace(SHIPPED, "layer3-behavior", nowhere, [user], {}, AS_OF)
    with pytest.raises(UsageError, match="no user is given"):
        trace(SHIPPED, "layer3-behavior", nowhere, [], {}, AS_OF)


@pytest.mark.parametrize(
    "user",
    [
        "o'hara",
        "x'; drop table users; --",
        "{{ 7 * 7 }}",
        "\\'; select 1; --",
        "$$x$$",
        "%s :name",
        "é 李",
    ],
)
def test_odd_characters_are_a_key_and_nothing_else(
    database: Database, tmp_path: Path, user: str
) -> None:
    people = (
        "select name as user_id, name from unnest(array[$a$x'; drop table users; --$a$, "
        "$b$o'hara$b$]) as given (name)"
    )
    project = tiny_project(
        tmp_path,
        people=people,
        first_file="select * from {{ ref('people') }}",
        second_file="select * from {{ ref('people') }} where false",
    )
    answer = ask(database, user, project=project, audience="tiny")
    assert answer.traces[0].user == user
    is_there = user in ("o'hara", "x'; drop table users; --")
    assert (answer.traces[0].fate == "exported") is is_there
    assert database.value("select count(*) from users") == 0


def test_an_audience_without_the_key_says_which_columns_there_are(
    database: Database, tmp_path: Path
) -> None:
    project = keyed(tmp_path, "    key: person\n")
    path = project / "models" / "tiny.yml"
    path.write_text(
        path.read_text()
        .replace("columns: [user_id, name]", "columns: [user_id, name, person]")
        .replace("{{user_id", "{{person: x, user_id")
    )
    with pytest.raises(ProjectError, match="person"):
        ask(database, 1, project=project, audience="tiny")


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("time: created_at", "time: createdat", "describes no column 'createdat'"),
        ("widen: {lookback_hours", "widen: {loopback_hours", "has no parameter 'loopback_hours'"),
        ("column: keep_demand", "column: keep_demnd", "describes no column 'keep_demnd'"),
        ("- model: stg_users\n", "- model: stg_user\n", "there is no model 'stg_user'"),
        ("table: users, column: id}", "table: usrs, column: id}", "there is no source table marketplace.usrs"),
        ("table: users, column: id}", "table: users, column: idd}", "declares no column 'idd'"),
        ("says: the user is deleted", "says: 'the user {{ is'", "is not valid Jinja"),
        ("      time: created_at\n", "", "widen and time are needed together"),
    ],
)  # fmt: skip
def test_what_trace_names_must_be_there(
    tmp_path: Path, was: str, becomes: str, message: str
) -> None:
    project = shipped_project(tmp_path)
    path = project / "models/layer3_behavior/audience.yml"
    assert path.read_text().count(was) == 1
    path.write_text(path.read_text().replace(was, becomes))
    with pytest.raises(ProjectError, match=r"audience\.yml:") as caught:
        load_project(project)
    assert message in str(caught.value)


def test_a_window_that_cannot_be_widened_so_is_an_error_at_its_line(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    user = market.user()
    market.load(database)
    project = shipped_project(tmp_path)
    path = project / "models/layer3_behavior/audience.yml"
    path.write_text(path.read_text().replace("87600, cooling_hours: 0}", "1, cooling_hours: 2}"))
    line = line_of(path, "widen: ")
    with pytest.raises(ProjectError, match=r"widen: the window from .* is empty") as caught:
        ask(database, user, project=project)
    assert f"audience.yml:{line}" in str(caught.value)


def test_a_sentence_that_cannot_be_said_is_an_error_at_its_line(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    user = market.user()
    market.closet(user, market.variant(), hours_ago(20))
    market.load(database)
    project = shipped_project(tmp_path)
    path = project / "models/layer3_behavior/audience.yml"
    path.write_text(path.read_text().replace("row.demand_count", "row.demand"))
    line = line_of(path, "column: keep_demand") + 1
    with pytest.raises(ProjectError, match=r"cannot be filled in: .*'demand'") as caught:
        ask(database, user, project=project)
    assert f"audience.yml:{line}" in str(caught.value)


def test_the_command_answers_with_exit_code_0_whatever_the_fate(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    user = market.user()
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    options = [
        "--profiles-dir",
        database.profile(tmp_path),
        "--project-dir",
        ROOT,
        "--as-of",
        "2025-11-28T12:00:00Z",
    ]
    code, stdout, _ = invoke(
        "trace", "generate_layer_3_push_csvs", user, uuid.UUID(int=7), *options
    )
    assert code == 0
    assert stdout.splitlines()[3:5] == [
        str(user),
        "  exported as closet_add to recent-closet-adders",
    ]
    code, stdout, _ = invoke("trace", "layer3-behavior", user, uuid.UUID(int=7), *options, "--json")
    assert code == 0
    document = json.loads(stdout)
    assert [one["fate"] for one in document["users"]] == ["exported", "unknown"]
    assert document["users"][0]["exports"] == [
        {"audienceType": "closet_add", "file": "recent-closet-adders"}
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["layer3-behaviour", str(uuid.UUID(int=1))], 2, "did you mean layer3-behavior?"),
        (["layer3-behavior", "nobody"], 2, "the user 'nobody' is not of type uuid"),
        (["layer3-behavior"], 2, "Missing argument 'USER...'"),
        (["layer3-behavior", str(uuid.UUID(int=1)), "--var", "min_count=3"], 2, "has no parameter"),
        (
            ["layer3-behavior", str(uuid.UUID(int=1)), "--as-of", "monday"],
            2,
            "is not a date and time",
        ),
    ],
)
def test_what_is_asked_wrongly_ends_with_one_line_and_code_2(
    database: Database, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    options = ["--profiles-dir", database.profile(tmp_path), "--project-dir", ROOT]
    found, stdout, stderr = invoke("trace", *arguments, *options)
    assert (found, stdout) == (code, "")
    assert message in stderr
    assert "Traceback" not in stderr


def test_a_database_that_is_down_is_exit_code_1(database: Database, tmp_path: Path) -> None:
    profile = database.profile(tmp_path, host="/nowhere/at/all")
    code, stdout, stderr = invoke(
        "trace",
        "layer3-behavior",
        uuid.UUID(int=1),
        "--profiles-dir",
        profile,
        "--project-dir",
        ROOT,
    )
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: ")


# Data tests that keep a file back


def test_a_user_whose_row_fails_a_data_test_is_told_so(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    failing, other, elsewhere = market.user(), market.user(), market.user()
    odd = market.variant(index_cache={"mens_size": "odd"})
    market.want(odd, 5)
    market.closet(failing, odd, hours_ago(20))
    market.closet(other, market.shoe, hours_ago(20))
    market.wish(elsewhere, market.shoe, hours_ago(20))
    market.load(database)
    project = shipped_project(tmp_path)
    path = project / "models/layer3_behavior/models.yml"
    head, tail = path.read_text().split("  - name: layer3_closet_adders\n")
    tested = "      - name: relevant_variant_size\n        data_tests: [{accepted_values: {arguments: {values: [Unknown]}}}]\n"
    tail = tail.replace(
        "      - {name: relevant_variant_size, description: size of the shoe}\n", tested, 1
    )
    path.write_text(f"{head}  - name: layer3_closet_adders\n{tail}")
    line = line_of(path, "arguments: {values: [Unknown]}")
    answer = ask(database, failing, other, elsewhere, project=project)
    name = "accepted_values_layer3_closet_adders_relevant_variant_size"
    place = f"closet_add is not published (models/layer3_behavior/models.yml:{line}"
    own, others, exported = told(answer)
    assert own.startswith(
        f"not exported: failed data test {name}: 1 failing row of layer3_closet_adders, "
        f"this user's among them, so {place}"
    )
    assert others.startswith(
        f"not exported: failed data test {name}: 1 failing row of layer3_closet_adders, so {place}"
    )
    assert exported == "exported as wishlist_add to recent-wishlist-adders"
    assert [one.fate for one in answer.traces] == ["withheld", "withheld", "exported"]


def test_a_test_that_only_warns_keeps_no_file_back(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    user = market.user(username=None)
    market.closet(user, market.shoe, hours_ago(20))
    market.load(database)
    project = shipped_project(tmp_path)
    folder = project / "tests/data_tests"
    folder.mkdir(parents=True)
    query = "{{{{ config(severity='{}') }}}}select user_id from {{{{ ref('layer3_closet_adders') }}}} where username is null"
    for severity, start in (
        ("warn", "exported as"),
        ("error", "not exported: failed data test named"),
    ):
        (folder / "named.sql").write_text(query.format(severity))
        assert told(ask(database, user, project=project))[0].startswith(start)
