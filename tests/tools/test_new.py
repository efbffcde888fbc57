"""`audiences new`: a folder that runs at once, from a template or from another audience."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from runner.errors import UsageError
from runner.project.load import load_project
from runner.project.targets import Target
from runner.tools.new.new import new_audience
from runner.tools.unit_tests.mutations import check_mutations
from runner.tools.unit_tests.unit_tests import open_case_session
from tests.cli.test_commands import invoke
from tests.support import ROOT, Database, csv_files, run_project, shipped_project, tiny_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = shipped_project(tmp_path / "p")
    shutil.copytree(
        ROOT / "tests" / "data_tests", folder / "tests" / "data_tests", dirs_exist_ok=True
    )
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_new_audience_runs_at_once_and_its_files_have_rows(
    golden: Database, project: Path, tmp_path: Path
) -> None:
    golden.execute(
        "update users set created_at = '2025-11-28 11:00:00+00' where first_name is not null"
    )
    profile = golden.profile(tmp_path / "profile")
    where = ["--project-dir", project, "--profiles-dir", profile]
    code, out, _ = invoke("new", "weekend-sellers", "--project-dir", project)
    assert code == 0
    assert "models/weekend_sellers/audience.yml" in out
    code, out, error = invoke(
        "run", "weekend-sellers", *where, "--as-of", "2025-11-28T12:00:00Z",
        "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, error
    (production,) = (tmp_path / "out").glob("weekend-sellers_2*.csv")
    assert len(production.read_text().splitlines()) > 100


def test_the_new_audiences_unit_tests_notice_every_change(bare: Target, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    made = new_audience(project, "weekend-sellers")
    models = [
        path.stem for path in made.files if path.suffix == ".sql" and "tests" not in path.parts
    ]
    assert len(models) == 3
    with open_case_session(load_project(project), bare) as session:
        found = check_mutations(session, models)
    assert len(found) > 30
    assert [mutant.place for mutant in found if mutant.outcome in ("unnoticed", "stale")] == []


def test_a_source_of_its_own_is_written_only_where_the_project_has_none(
    project: Path, tmp_path: Path
) -> None:
    without = tiny_project(tmp_path / "tiny")
    name = Path("models/weekend_sellers/sources.yml")
    assert name in new_audience(without, "weekend-sellers").files
    assert name not in new_audience(project, "weekend-sellers").files
    load_project(without)


def test_a_copy_makes_the_same_rows_under_names_of_its_own(
    golden: Database, project: Path, tmp_path: Path
) -> None:
    new_audience(project, "copied", "generate_layer_3_push_csvs")
    copied = load_project(project).audience("copied")
    assert copied.aliases == []
    assert copied.legacy is None
    rows = {}
    for name in ("layer3-behavior", "copied"):
        result = run_project(project, golden, tmp_path / name, audience=name)
        assert result.status == "success", result.error
        rows[name] = {
            file.audience_type: file.sha256 for file in result.csv_files if not file.is_test_file
        }
        assert csv_files(tmp_path / name)
    assert rows["copied"] == rows["layer3-behavior"]


def test_a_copy_has_the_tests_of_what_it_copies(bare: Target, project: Path) -> None:
    made = new_audience(project, "copied", "layer3-behavior")
    assert Path("tests/data_tests/copied_pushes_answer_the_window.sql") in made.files
    assert not [path for path in made.files if "layer3" in str(path)]
    cases = [
        case for case in load_project(project).unit_cases if case.test.model.startswith("copied_")
    ]
    assert len(cases) > 20
    with open_case_session(load_project(project), bare) as session:
        assert {session.run(case).status for case in cases} == {"pass"}


@pytest.mark.parametrize(
    "name", ["", "Weekend", "week_end", "-x", "x-", "1x", "x" * 41, "../x", "x--y"]
)
def test_a_name_that_is_none_is_refused_and_nothing_is_written(project: Path, name: str) -> None:
    before = contents(project)
    with pytest.raises(UsageError, match="is not a name for an audience"):
        new_audience(project, name)
    assert contents(project) == before


def test_nothing_is_ever_overwritten(project: Path) -> None:
    new_audience(project, "weekend-sellers")
    before = contents(project)
    with pytest.raises(UsageError, match="there is an audience 'weekend-sellers' already"):
        new_audience(project, "weekend-sellers")
    with pytest.raises(UsageError, match="there is an audience"):
        new_audience(project, "layer3-behavior")
    (project / "models" / "mine").mkdir()
    with pytest.raises(UsageError, match="models/mine exists already"):
        new_audience(project, "mine")
    (project / "models" / "linked").symlink_to("nowhere")
    with pytest.raises(UsageError, match="models/linked exists already"):
        new_audience(project, "linked")
    (project / "models" / "other_pushes.sql").write_text("select 1 as user_id")
    with pytest.raises(UsageError, match="other_pushes"):
        new_audience(project, "other")
    (project / "models" / "other_pushes.sql").unlink()
    (project / "models" / "linked").unlink()
    assert contents(project) == before


def test_an_unknown_audience_cannot_be_copied(project: Path) -> None:
    code, _, error = invoke("new", "copied", "--from", "layer3-behaviour", "--project-dir", project)
    assert code == 2
    assert "there is no audience 'layer3-behaviour'" in error
    assert "layer3-behavior" in error


def test_every_yaml_file_of_the_template_names_its_schema(project: Path) -> None:
    made = new_audience(project, "weekend-sellers")
    for path in made.files:
        if path.suffix == ".yml":
            first = (project / path).read_text().splitlines()[0]
            depth = len(path.parts) - 1
            assert first == f"# yaml-language-server: $schema={'../' * depth}.schemas/models.json"
            assert yaml.safe_load((project / path).read_text())["version"] == 2


def test_where_the_data_test_cannot_be_written_nothing_is_left_behind(project: Path) -> None:
    shutil.rmtree(project / "tests")
    (project / "tests").write_text("in the way")
    before = contents(project)
    code, _, error = invoke("new", "weekend-sellers", "--project-dir", project)
    assert code == 1
    assert error.count("\n") == 1
    assert "tests" in error
    assert contents(project) == before
    assert not (project / "models" / "weekend_sellers").exists()
