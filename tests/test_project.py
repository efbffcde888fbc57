"""The shape of the project itself: imports point one way, documents name what exists, and models
keep to the dialect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from runner.cli.app import app
from runner.project.load import load_project
from runner.sql.compile import compile_audience
from tests.support import AS_OF, ROOT, Database, published, run_project, shipped_project

README = (ROOT / "README.md").read_text()

# The README


def commands() -> dict[str, set[str]]:
    group = get_command(app)
    return {
        name: {option for one in command.params for option in [*one.opts, *one.secondary_opts]}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_every_command_and_option_in_the_readme_exists() -> None:
    known = commands()
    used = re.findall(r"^(?:\$ )?audiences ([a-z]+)(.*)$", README, re.MULTILINE)
    assert used
    for name, rest in used:
        assert name in known, name
        options = re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", rest)
        assert set(options) <= known[name] | {"--help"}, (name, rest)


def test_every_option_of_every_command_is_in_the_readme() -> None:
    for name, options in commands().items():
        assert f"audiences {name}" in README
        for option in options:
            if option.startswith("--"):
                assert f"`{option}" in README or f" {option}" in README, f"{name} {option}"


def test_every_model_parameter_and_file_in_the_readme_exists() -> None:
    project = load_project(ROOT)
    names = set(re.findall(r"`(?:[\w/]*/)?((?:layer3|stg)_\w+)(?:\.sql)?`", README))
    assert names <= set(project.models)
    parameters = {one.name for one in project.audience("layer3-behavior").parameters}
    assert all(f"`{name}`" in README for name in parameters)
    for path in re.findall(r"`((?:models|runner|tests)/[\w./-]+)`", README):
        assert (ROOT / path).exists() or "recently_seen" in path, path


def test_the_readmes_model_is_the_model() -> None:
    example = README.split("```sql\n")[1].split("```")[0]
    assert example in [path.read_text() for path in (ROOT / "models").rglob("*.sql")]


def test_the_readmes_audience_works_as_it_stands(golden: Database, tmp_path: Path) -> None:
    section = README.split("## Adding an audience")[1]
    project = shipped_project(tmp_path / "p")
    folder = project / "models" / "recently_seen"
    folder.mkdir()
    (folder / "recently_seen.yml").write_text(section.split("```yaml\n")[1].split("```")[0])
    (folder / "recently_seen_users.sql").write_text(section.split("```sql\n")[1].split("```")[0])
    parameters = {"seen_hours": "2400"}
    result = run_project(
        project, golden, tmp_path / "out", audience="recently-seen", parameters=parameters
    )
    assert result.status == "success", result.error
    assert result.audience_size > 100
    assert len(published(tmp_path / "out")) == 4


def test_the_readme_has_no_placeholder() -> None:
    assert "@@" not in README


# The models


def sql_files() -> list[Path]:
    return sorted((ROOT / "models").rglob("*.sql"))


@pytest.mark.parametrize("path", sql_files(), ids=lambda path: path.stem)
def test_a_model_states_its_grain_first_and_is_described(path: Path) -> None:
    assert path.read_text().startswith("-- One row per ")
    properties = load_project(ROOT).models[path.stem].properties
    assert properties is not None
    assert properties.description.startswith("One row per ")


@pytest.mark.parametrize("path", sql_files(), ids=lambda path: path.stem)
def test_sources_are_read_in_staging_only_and_refs_stand_in_import_ctes(path: Path) -> None:
    text = path.read_text()
    is_staging = path.parent.name == "staging"
    assert bool(re.search(r"\{\{ source\(", text)) is is_staging
    for line in text.splitlines():
        if "ref(" in line or "source(" in line:
            assert re.fullmatch(r"    select \* from \{\{ (ref|source)\(.*\) \}\}", line)


def test_described_columns_are_the_columns_that_models_select() -> None:
    project = load_project(ROOT)
    for model in project.models.values():
        assert model.properties is not None
        final = model.source_text[model.source_text.rindex("\nselect") :].split("\nfrom")[0]
        described = [column.name for column in model.properties.columns]
        for name in described:
            assert re.search(rf'(?<!\w){name}"?(,|\s|$)', final), (model.name, name)


def test_only_steps_of_the_run_are_built_and_staging_never_is() -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    assert compiled.tables == (
        "layer3_recent_activity",
        "layer3_candidates",
        "layer3_prioritized",
        "layer3_enriched",
        "layer3_offer_creators",
        "layer3_closet_adders",
        "layer3_wishlist_adders",
    )
