"""`compile`: what it prints is what a run does, and psql can do it too."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.demo.server import binaries
from runner.errors import UsageError
from runner.project.load import load_project
from runner.project.targets import Target
from runner.sql.compile import compile_audience, compile_model
from runner.sql.plan import Plan
from runner.sql.psql_script import psql_script, write_folder
from tests.support import AS_OF, ROOT, Database, published, run_layer3, run_project, tiny_project

OFFLINE = Target(name="offline", type="demo")


def psql(database: Database, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    info = database.connection.info
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [
            binaries() / "psql",
            "-X",
            "-h",
            info.host,
            "-p",
            str(info.port),
            "-U",
            info.user,
            "-d",
            info.dbname,
        ],
        input=script,
        cwd=folder,
        env={**os.environ, "PGPASSWORD": info.password or ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_psql_makes_the_same_files_from_the_compiled_script(
    golden: Database, tmp_path: Path
) -> None:
    result = run_layer3(golden, tmp_path / "run")
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    script = psql_script(Plan(compiled, result.metadata.started_at), OFFLINE)
    done = psql(golden, script, tmp_path / "psql")
    assert (done.returncode, done.stderr) == (0, "")
    names = [name for name in published(tmp_path / "run") if name.endswith(".csv")]
    assert published(tmp_path / "psql") == names
    for name in names:
        assert (tmp_path / "psql" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_the_script_makes_no_files_without_activity(database: Database, tmp_path: Path) -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    done = psql(database, psql_script(Plan(compiled, AS_OF), OFFLINE), tmp_path / "psql")
    assert done.returncode == 0
    assert "no activity" in done.stdout
    assert published(tmp_path / "psql") == []


def test_the_script_always_makes_the_files_of_an_audience_without_activity_model(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", people="select 1 as user_id, 'x' as name where false")
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("activity_model: people", "activity_model: false"))
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    done = psql(database, psql_script(Plan(compiled, AS_OF), OFFLINE), tmp_path / "psql")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(published(tmp_path / "psql")) == 4


def test_psql_takes_a_script_whose_final_models_are_inlined(
    database: Database, tmp_path: Path
) -> None:
    final = "{{ config(materialized='ephemeral') }}\nselect * from {{ ref('people') }} where user_id < 3 -- all"
    project = tiny_project(tmp_path / "p", first_file=final)
    result = run_project(project, database, tmp_path / "run")
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    done = psql(
        database,
        psql_script(Plan(compiled, result.metadata.started_at), OFFLINE),
        tmp_path / "psql",
    )
    assert (done.returncode, done.stderr) == (0, "")
    for path in (tmp_path / "psql").iterdir():
        assert path.read_bytes() == (tmp_path / "run" / path.name).read_bytes()
    assert len(published(tmp_path / "psql")) == 4


def test_one_model_is_a_stand_alone_select(golden: Database) -> None:
    select = compile_model(load_project(ROOT), "layer3-behavior", "layer3_enriched", {}, AS_OF)
    assert "pg_temp" not in select.text
    assert golden.value(f"select count(*) from ({select.text}\n) as enriched") == 216


def test_a_model_of_another_audience_is_unknown() -> None:
    with pytest.raises(
        UsageError, match=r"no model 'layer3_enrichd'; did you mean layer3_enriched"
    ):
        compile_model(load_project(ROOT), "layer3-behavior", "layer3_enrichd", {}, AS_OF)


def test_a_folder_gets_the_script_and_every_model(golden: Database, tmp_path: Path) -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    paths = write_folder(Plan(compiled, datetime.now(UTC)), OFFLINE, tmp_path / "compiled")
    assert len(paths) == 1 + len(compiled.graph.models)
    for path in paths:
        if path.suffix == ".sql":
            golden.execute(f"select count(*) from ({path.read_text()}) as model")


def test_the_script_has_the_targets_settings_and_session_statements() -> None:
    target = Target(
        name="t",
        type="demo",
        settings={"work_mem": "64MB"},
        session=["set enable_nestloop to off;"],
    )
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    script = psql_script(Plan(compiled, AS_OF), target)
    assert "\nset work_mem to '64MB'\n;" in script
    assert "\nset enable_nestloop to off\n;" in script
    assert len(re.findall(r"^\\copy ", script, re.MULTILINE)) == 6


def test_a_model_that_another_one_reads_twice_is_computed_once(
    database: Database, tmp_path: Path
) -> None:
    """Each of the six would double the work of the one before."""
    chain = {
        f"m{n}": f"select a.user_id, a.name from {{{{ ref('m{n - 1}') }}}} as a inner join {{{{ ref('m{n - 1}') }}}} as b on a.user_id = b.user_id"
        for n in range(1, 7)
    }
    people = "select n as user_id, 'x' as name from generate_series(1, 29) as g (n)"
    project = tiny_project(
        tmp_path / "p", people=people, m0="select * from {{ ref('people') }}", **chain,
        first_file="select * from {{ ref('m6') }}",
    )  # fmt: skip
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    assert {f"m{n}" for n in range(6)} <= set(compiled.tables)
    assert "m6" not in compiled.tables
