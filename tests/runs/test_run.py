"""What a run leaves behind: files, manifest, result; and what remains when a part of it fails."""

from __future__ import annotations

import csv
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.errors import ExportError, UsageError
from runner.files.folder import Folder
from runner.project.load import load_project
from runner.runs.phases import run
from runner.runs.settings import Settings
from tests.support import (
    AS_OF,
    ROOT,
    Database,
    Marketplace,
    claimed_in,
    hours_ago,
    manifests,
    only_outcome,
    published,
    rows_of,
    run_layer3,
    run_project,
    tiny_project,
)

FOUNDER = {
    "user_id": "0e54067c-4c0e-4e4a-8a23-a47661578059",
    "username": "beems",
    "firstName": "Mbiyimoh",
    "usersize": "13",
}
BROKEN_SECOND = "select *\nfrom {{ ref('people') }}\nwhere 1 / (user_id - 3) > 0"


def test_six_files_and_the_manifest_bear_the_start_of_the_run(
    golden: Database, tmp_path: Path
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    run_layer3(golden, tmp_path)
    names = published(tmp_path)
    (stamp,) = {
        re.search(r"_(\d{8}T\d{6})\.", name).group(1) for name in names if "latest" not in name
    }  # type: ignore[union-attr]
    started = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert before <= started <= datetime.now(UTC)
    prefixes = ["recent-offer-creators", "recent-closet-adders", "recent-wishlist-adders"]
    files = [f"{prefix}{test}_{stamp}.csv" for prefix in prefixes for test in ("", "_TEST")]
    documents = [f"layer3-behavior_{stamp}.json", "layer3-behavior.latest.json"]
    assert names == sorted([*files, *documents])


def test_the_manifest_lists_each_file_with_rows_bytes_and_sha256(
    golden: Database, tmp_path: Path
) -> None:
    run_layer3(golden, tmp_path)
    (manifest,) = manifests(tmp_path)
    assert len(manifest["csvFiles"]) == 6
    for entry in manifest["csvFiles"]:
        content = (tmp_path / entry["path"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        with open(tmp_path / entry["path"], newline="", encoding="utf-8") as file:
            assert entry["rowCount"] == len(list(csv.reader(file))) - 1


def test_the_result_has_the_seeds_names_and_the_funnel(golden: Database, tmp_path: Path) -> None:
    result = run_layer3(golden, tmp_path).as_json()
    assert result["success"] is True
    assert set(result["csvFiles"][0]) >= {"path", "rowCount", "isTestFile", "audienceType"}
    production = [file for file in result["csvFiles"] if not file["isTestFile"]]
    assert result["audienceSize"] == sum(file["rowCount"] for file in production) == 216
    metadata = result["metadata"]
    assert metadata["asOf"] == "2025-11-28T12:00:00Z"
    assert metadata["parameters"]["lookback_hours"] == 48
    assert len(metadata["modelsHash"]) == 64
    totals = {count["label"]: count["total"] for count in metadata["funnel"]}
    assert totals["activities in the window"] == 442
    assert totals["users after priority"] == totals["rows before demand"] == 323
    assert totals["rows after demand"] == 216
    after = metadata["funnel"][-1]["byKind"]
    assert after == metadata["rowsByType"]
    steps = {step["name"]: step for step in metadata["steps"]}
    assert steps["layer3_prioritized"]["rowCount"] == 323


def test_each_user_is_in_one_file_only(golden: Database, tmp_path: Path) -> None:
    result = run_layer3(golden, tmp_path)
    users = [
        row["user_id"]
        for kind in ("offer_created", "closet_add", "wishlist_add")
        for row in rows_of(result, kind)
    ]
    assert len(users) == len(set(users)) == result.audience_size


def test_a_test_file_is_the_test_user_with_the_first_rows_shoe(
    golden: Database, tmp_path: Path
) -> None:
    before = datetime.now(UTC)
    result = run_layer3(golden, tmp_path)
    for kind in ("offer_created", "closet_add", "wishlist_add"):
        first = rows_of(result, kind)[0]
        (row,) = rows_of(result, kind, is_test=True)
        assert {key: row[key] for key in FOUNDER} == FOUNDER
        shoe = set(row) - set(FOUNDER) - {"lastActive"}
        assert {key: row[key] for key in shoe} == {key: first[key] for key in shoe}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["lastActive"])
        moment = datetime.fromisoformat(row["lastActive"])
        assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC)


def test_an_empty_group_gives_a_header_and_a_test_file_of_placeholders(
    database: Database, tmp_path: Path
) -> None:
    market = Marketplace()
    market.closet(market.user(), market.variant(), hours_ago(24))
    market.load(database)
    result = run_layer3(database, tmp_path)
    assert rows_of(result, "closet_add") == rows_of(result, "wishlist_add") == []
    (row,) = rows_of(result, "wishlist_add", is_test=True)
    assert row["relevant_variant_size"] == "13"
    assert row["product_name"] == "Test Product"
    assert row["variantID"] == "test-variant-id"
    assert row["inventory_count"] == ""
    assert len(published(tmp_path)) == 8


@pytest.mark.parametrize("has_temp", [True, False])
def test_a_file_has_placeholders_of_its_own(
    database: Database, tmp_path: Path, role: str, has_temp: bool
) -> None:
    first = "select * from {{ ref('people') }} where user_id < 0"
    project = tiny_project(tmp_path / "p", first_file=first)
    path = project / "models" / "tiny.yml"
    for name in ("first", "second"):
        file = f"file: {name}, "
        own = f"{file}placeholders: {{name: {name} of none}}, "
        path.write_text(path.read_text().replace(file, own))
    target = database.target()
    if not has_temp:
        database.execute(f"revoke temp on database {database.connection.info.dbname} from public")
        target = database.target(user=role, password="reader secret")
    result = run_project(project, database, tmp_path / "out", target=target)
    assert rows_of(result, "first", is_test=True) == [{"user_id": "0", "name": "first of none"}]
    assert rows_of(result, "second", is_test=True) == [{"user_id": "0", "name": "name 3"}]


def test_null_and_empty_text_are_both_an_empty_unquoted_field(
    database: Database, tmp_path: Path
) -> None:
    market = Marketplace()
    market.closet(
        market.user(username=None, first_name=""), market.variant({"mens_size": ""}), hours_ago(24)
    )
    market.load(database)
    result = run_layer3(database, tmp_path, min_wishlist_count=0)
    (path,) = tmp_path.glob("recent-closet-adders_2*.csv")
    _, line = path.read_text().splitlines()
    assert result.status == "success"
    assert line.split(",")[1:5] == ["", "", "", ""]
    assert path.read_bytes().endswith(b"\n")
    assert b"\r" not in path.read_bytes()


def test_no_activity_is_success_without_files(database: Database, tmp_path: Path) -> None:
    result = run_layer3(database, tmp_path)
    document = result.as_json()
    assert (result.exit_code, document["success"], document["status"]) == (0, True, "no_activity")
    assert document["metadata"]["reason"] == "no_activity"
    assert document["csvFiles"] == []
    assert only_outcome(tmp_path) == "no_activity"


NONE_HERE = {
    "people": "select n as user_id, 'x' as name from generate_series(1, 3) as given (n) where n > 3",
    "first_file": "select * from {{ ref('people') }}",
    "second_file": "select * from {{ ref('people') }}",
}


def without_activity_model(folder: Path, **models: str) -> Path:
    project = tiny_project(folder, **{**NONE_HERE, **models})
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("activity_model: people", "activity_model: false"))
    return project


def test_without_an_activity_model_empty_files_are_published(
    database: Database, tmp_path: Path
) -> None:
    result = run_project(without_activity_model(tmp_path / "p"), database, tmp_path / "out")
    assert (result.exit_code, result.status, result.audience_size) == (0, "success", 0)
    assert rows_of(result, "first") == rows_of(result, "second") == []
    assert rows_of(result, "second", is_test=True) == [{"user_id": "0", "name": "nobody"}]


@pytest.mark.parametrize("has_temp", [True, False])
def test_without_an_activity_model_what_must_be_there_is_a_data_test_that_fails_the_run(
    database: Database, tmp_path: Path, role: str, has_temp: bool
) -> None:
    shown = "select n as product_id from generate_series(1, 3) as given (n) where n > 3"
    people = f"{NONE_HERE['people']} and n in (select product_id from {{{{ ref('shown') }}}})"
    project = without_activity_model(tmp_path / "p", shown=shown, people=people)
    tests = project / "tests" / "data_tests"
    tests.mkdir(parents=True)
    (tests / "no_product_with_this_id.sql").write_text(
        "select 'missing' as product where not exists (select * from {{ ref('shown') }})"
    )
    target = database.target()
    if not has_temp:
        database.execute(f"revoke temp on database {database.connection.info.dbname} from public")
        target = database.target(user=role, password="reader secret")
    result = run_project(project, database, tmp_path / "out", target=target)
    assert (result.exit_code, result.status) == (1, "failed")
    assert "no_product_with_this_id" in str(result.error)
    assert only_outcome(tmp_path / "out") == "failed"


def test_an_activity_model_needs_no_key(database: Database, tmp_path: Path) -> None:
    offers = (
        "select n as offer_id from generate_series(1, 3) as given (n) where n > {{ var('least') }}"
    )
    project = tiny_project(
        tmp_path / "p",
        parameters="{name: least, type: integer, default: 0, description: x}",
        offers=offers,
    )
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("activity_model: people", "activity_model: offers"))
    some = run_project(project, database, tmp_path / "out")
    none = run_project(project, database, tmp_path / "none", parameters={"least": "3"})
    assert (some.status, none.status) == ("success", "no_activity")
    assert only_outcome(tmp_path / "none") == "no_activity"


def test_a_dry_run_has_the_same_numbers_and_no_files(golden: Database, tmp_path: Path) -> None:
    real = run_layer3(golden, tmp_path / "real")
    settings = Settings(
        ROOT,
        "layer3-behavior",
        golden.target(),
        as_of=AS_OF,
        output_dir=tmp_path / "dry",
        is_dry_run=True,
    )
    dry = run(settings)
    assert dry.status == "success"
    assert dry.metadata.rows_by_type == real.metadata.rows_by_type
    assert dry.metadata.funnel == real.metadata.funnel
    assert dry.csv_files == ()
    assert not (tmp_path / "dry").exists()


def test_crlf_ends_rows_but_leaves_newlines_inside_fields(
    database: Database, tmp_path: Path
) -> None:
    people = "select n as user_id, E'two\\nlines' as name from generate_series(1, 3) as given (n)"
    project = tiny_project(tmp_path / "p", line_ending="crlf", people=people)
    result = run_project(project, database, tmp_path / "out")
    (path,) = (tmp_path / "out").glob("first_2*.csv")
    assert path.read_bytes() == b'user_id,name\r\n1,"two\nlines"\r\n2,"two\nlines"\r\n'
    first = result.csv_files[0]
    assert (first.row_count, first.size_bytes) == (2, path.stat().st_size)
    assert first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_alias_of_an_audience_is_the_audience(golden: Database, tmp_path: Path) -> None:
    settings = Settings(
        ROOT, "generate_layer_3_push_csvs", golden.target(), as_of=AS_OF, output_dir=tmp_path
    )
    result = run(settings)
    assert result.metadata.audience == "layer3-behavior"


# Partial failure


def test_one_failed_type_leaves_the_others_published(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", second_file=BROKEN_SECOND)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.success, result.exit_code) == ("partial", True, 3)
    assert [failure.audience_type for failure in result.metadata.errors] == ["second"]
    assert "division by zero" in result.metadata.errors[0].message
    assert "models/second_file.sql" in result.metadata.errors[0].message
    assert [name.split("_")[0] for name in published(tmp_path / "out")] == [
        "first",
        "first",
        "tiny.latest.json",
        "tiny",
    ]
    (manifest,) = manifests(tmp_path / "out")
    assert manifest["status"] == "partial"


def test_all_or_nothing_publishes_nothing_if_one_type_fails(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", second_file=BROKEN_SECOND)
    result = run_project(project, database, tmp_path / "out", is_all_or_nothing=True)
    assert (result.status, result.exit_code, result.csv_files) == ("failed", 1, ())
    assert only_outcome(tmp_path / "out") == "failed"


def test_a_failed_shared_step_publishes_nothing(database: Database, tmp_path: Path) -> None:
    people = (
        "select n as user_id, (1 / (n - 2))::text as name from generate_series(1, 3) as given (n)"
    )
    project = tiny_project(tmp_path / "p", people=people)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.success, result.exit_code) == ("failed", False, 1)
    assert "models/people.sql" in (result.error or "")
    assert only_outcome(tmp_path / "out") == "failed"


def test_if_every_type_fails_the_run_fails(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", first_file=BROKEN_SECOND, second_file=BROKEN_SECOND)
    result = run_project(project, database, tmp_path / "out")
    assert result.status == "failed"
    assert "first_file.sql" in (result.error or "")
    assert "second_file.sql" in (result.error or "")
    assert only_outcome(tmp_path / "out") == "failed"


def test_a_type_whose_name_is_taken_fails_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    link = Folder.link

    def link_onto_a_file(staging: Folder, name: str, into: Folder) -> None:
        if name.startswith("second_TEST"):
            (into.path / name).write_text("somebody else's")
        link(staging, name, into)

    monkeypatch.setattr(Folder, "link", link_onto_a_file)
    result = run_project(tiny_project(tmp_path / "p"), database, out)
    assert result.status == "partial"
    assert "nothing is ever overwritten" in result.metadata.errors[0].message
    assert [name for name in published(out) if name.startswith("second_2")] == []
    (taken,) = out.glob("second_TEST*")
    assert taken.read_text() == "somebody else's"


def test_a_manifest_that_cannot_be_written_withdraws_the_files(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ExportError("cannot be written: No space left on device")

    monkeypatch.setattr("runner.files.claim.Claim.conclude", fail)
    result = run_project(tiny_project(tmp_path / "p"), database, tmp_path / "out")
    assert (result.status, result.csv_files) == ("failed", ())
    assert only_outcome(tmp_path / "out") == "failed"


# Names and seconds


def test_two_runs_in_one_second_do_not_meet(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    results = [run_project(project, database, tmp_path / "out") for _ in range(3)]
    assert [result.status for result in results] == ["success"] * 3
    assert len(published(tmp_path / "out")) == 3 * 5 + 1


def test_a_second_that_another_run_has_claimed_is_left_to_it(tmp_path: Path) -> None:
    audience = load_project(ROOT).audience("layer3-behavior")
    start = datetime.now(UTC)
    claims = [claimed_in(tmp_path, audience, start) for _ in range(2)]
    with claims[0] as one, claims[1] as other:
        assert one.name != other.name
        assert other.started_at > start
    assert published(tmp_path) == []


def test_the_next_run_sweeps_the_staging_of_a_dead_one(database: Database, tmp_path: Path) -> None:
    dead = tmp_path / "out" / ".tiny_20200101T000000.staging"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "first_20200101T000000.csv").write_text("half a fi")
    run_project(tiny_project(tmp_path / "p"), database, tmp_path / "out")
    assert not dead.exists()


def test_a_usage_error_leaves_no_folder(database: Database, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        run_project(
            tiny_project(tmp_path / "p"), database, tmp_path / "out", parameters={"nope": "1"}
        )
    assert not (tmp_path / "out").exists()
