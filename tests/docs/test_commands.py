"""Commands of the pages, run as they stand there on the golden database."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from runner.cli.app import app
from runner.project.load import load_project
from runner.project.targets import Target
from runner.tools.unit_tests.mutations import check_mutations, has_gap
from runner.tools.unit_tests.unit_tests import open_case_session, run_unit_tests
from tests.docs.pages import DOCS, EXAMPLE, blocks, calls, commands, page_name
from tests.support import ROOT, Database, shipped_project

TOUR = DOCS / "analysts" / "tour.md"
RUN = [
    *sorted((DOCS / "analysts").glob("*.md")),
    *(DOCS / "operators" / f"{name}.md" for name in ("running", "files", "size-guards")),
]
MAY_DIFFER = {"compare", "verify"}
"""Commands whose exit code 1 is an answer."""


@pytest.fixture
def project(golden: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped project and the tour's audience; every target is the golden database."""
    folder = shipped_project(tmp_path / "p")
    shutil.copytree(ROOT / "tests" / "data_tests", folder / "tests" / "data_tests")
    shutil.copytree(EXAMPLE / "models" / "recently_seen", folder / "models" / "recently_seen")
    path = golden.profile(folder) / "profiles.yml"
    profile = yaml.safe_load(path.read_text())
    target = profile["p"]["outputs"].pop("test")
    profile["p"] = {"target": "demo", "outputs": {"demo": target, "prod": target}}
    path.write_text(yaml.safe_dump(profile))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("path", RUN, ids=page_name)
def test_commands_of_a_page_work_as_they_stand(path: Path, project: Path, tmp_path: Path) -> None:
    for line in commands(path):
        for words in calls(line):
            given = [at_home(word, tmp_path) for word in words]
            if given == ["test", "--unit", "--mutate"] or given[0].startswith("-"):
                continue  # .ci/run checks all models, and completion changes a shell's files
            done = CliRunner().invoke(app, given)
            allowed = {0, 1} if given[0] in MAY_DIFFER else {0}
            assert done.exit_code in allowed, (line, done.output)


def at_home(word: str, folder: Path) -> str:
    """A path outside of the project, in the test's own folder."""
    return str(folder / word.lstrip("/")) if word.startswith(("/tmp/", "/var/")) else word


# The tour and its example


def test_the_tour_shows_the_files_of_the_example() -> None:
    folder = EXAMPLE / "models" / "recently_seen"
    shown = [*blocks(TOUR, "yaml"), *blocks(TOUR, "sql")]
    files = ["audience.yml", "models.yml", "unit_tests.yml", "recently_seen_users.sql"]
    assert {path.name for path in folder.iterdir()} == set(files)
    for block, name in zip(shown, files, strict=True):
        text = (folder / name).read_text()
        if name.endswith(".yml"):  # the place of the schema differs
            assert block.startswith("# yaml-language-server: $schema=../../.schemas/models.json\n")
            block, text = block.partition("\n")[2], text.partition("\n")[2]
        assert block == text, name


def test_the_examples_staging_models_are_the_shipped_ones() -> None:
    shipped, copied = load_project(ROOT), load_project(EXAMPLE)
    for name, model in copied.models.items():
        if name.startswith("stg_"):
            assert model.source_text == shipped.models[name].source_text
            assert model.properties == shipped.models[name].properties


def test_the_example_makes_its_files(golden: Database, tmp_path: Path) -> None:
    options = ["--project-dir", EXAMPLE, "--profiles-dir", golden.profile(tmp_path / "profile")]
    options += ["--output-dir", tmp_path / "out", "--var", "seen_hours=2400"]
    options += ["--as-of", "2025-11-28T12:00:00Z"]
    done = CliRunner().invoke(app, ["run", "recently-seen", *map(str, options)])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "out").iterdir())) == 4
    (production,) = (tmp_path / "out").glob("recently-seen_2*.csv")
    header, *rows = production.read_text().splitlines()
    assert header == "user_id,firstName,lastActive"
    assert len(rows) == golden.value(
        "select count(*) from users join user_activities on users.id = user_id"
        " where deleted_at = 0 and last_active < '2025-11-28 12:00:00+00'"
        " and last_active >= '2025-11-28 12:00:00+00'::timestamptz - interval '2400 hours'"
    )


def test_the_examples_unit_tests_pass_and_notice_every_change(bare: Target) -> None:
    project = load_project(EXAMPLE)
    assert [result.status for result in run_unit_tests(project, bare)] == ["pass"]
    with open_case_session(project, bare) as session:
        mutants = check_mutations(session, ["recently_seen_users"], lambda _: None)
    assert len(mutants) == 22
    assert not has_gap(mutants)


def test_the_unit_test_in_tests_of_models_passes(bare: Target, tmp_path: Path) -> None:
    project = shipped_project(tmp_path)
    (project / "models" / "page.yml").write_text(
        blocks(DOCS / "analysts" / "tests.md", "yaml", "Unit tests")[0]
    )
    (result,) = run_unit_tests(load_project(project), bare, ["one_wishlist_is_too_few"])
    assert result.status == "pass"


def test_the_dbt_project_gives_each_parameter_its_default() -> None:
    document, profiles = map(yaml.safe_load, blocks(DOCS / "analysts" / "dbt.md", "yaml"))
    project = load_project(ROOT)
    # dbt has one value for all models: of two defaults that of the later audience here
    names = ("layer5-new-users", "layer2-trending", "layer3-behavior")
    assert set(names) == set(project.audiences)
    assert document["vars"] == {
        parameter.name: parameter.default
        for name in names
        for parameter in project.audience(name).parameters
    }
    assert (document["model-paths"], document["macro-paths"]) == (["models"], ["macros"])
    assert document["profile"] in profiles


def test_the_keys_that_trace_takes_are_those_of_the_page() -> None:
    (block,) = blocks(DOCS / "analysts" / "trace.md", "yaml")
    shown = yaml.safe_load(block)
    audience = load_project(ROOT).audience("layer3-behavior")
    assert shown["trace"]["key_source"] == audience.trace.key_source.model_dump()  # type: ignore[union-attr]
    assert shown["trace"]["widen"] == audience.trace.widen
