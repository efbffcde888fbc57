"""`schema`: what an editor is told about the YAML files is what the runner reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from runner.errors import ProjectError
from runner.project.json_schema import SCHEMAS_FOLDER, schemas
from runner.project.load import load_project
from tests.cli.test_commands import invoke
from tests.support import ROOT, tiny_project

YAML_FILES = sorted((ROOT / "models").rglob("*.yml"))


def problems(name: str, document: Any) -> list[str]:
    return [one.message for one in Draft202012Validator(schemas()[name]).iter_errors(document)]


@pytest.mark.parametrize("name", list(schemas()))
def test_the_committed_schemas_are_the_generated_ones(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])
    committed = json.loads((ROOT / SCHEMAS_FOLDER / name).read_text())
    assert committed == schemas()[name], "run: audiences schema"


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_the_shipped_files_fit(path: Path) -> None:
    assert problems("models.json", yaml.safe_load(path.read_text())) == []


def test_the_shipped_profiles_fit() -> None:
    document = yaml.safe_load((ROOT / "profiles.yml").read_text())
    assert problems("profiles.json", document) == []
    document["push_audiences"]["outputs"]["prod"]["passwrd"] = "x"
    assert len(problems("profiles.json", document)) == 1


@pytest.mark.parametrize("path", [*YAML_FILES, ROOT / "profiles.yml"], ids=lambda path: path.stem)
def test_each_file_tells_editors_where_its_schema_is(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first
    name = "profiles.json" if path.stem == "profiles" else "models.json"
    assert (path.parent / named).resolve() == ROOT / SCHEMAS_FOLDER / name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("description: A small", "descripton: A small"),
        ("line_ending: lf", "line_ending: cr"),
        ("order_by: [user_id]", "order_by: []"),
        ("name: tiny", "name: Tiny!"),
        ("activity_model: people", "activity_model: 3"),
        ("activity_model: people", "activity_model:"),
        ("activity_model: people", "activity_model: true"),
        ("    activity_model: people\n", ""),
        ("models: [{name: people", "models: [{title: people"),
        ("data_tests: [unique]", "data_tests: [unique: {nam: x}]"),
        ("data_tests: [unique]", "data_tests: [{unique: {}, not_null: {}}]"),
        ("meta: {personal: true}", "meta: {personal: maybe}"),
    ],
)
def test_a_schema_refuses_what_the_runner_refuses(tmp_path: Path, old: str, new: str) -> None:
    project = tiny_project(tmp_path / "p")
    path = project / "models" / "tiny.yml"
    column = "{name: user_id, config: {meta: {personal: true}}, data_tests: [unique]}"
    text = f"{path.read_text()}\nmodels: [{{name: people, description: d, columns: [{column}, {{name: name}}]}}]\n"
    path.write_text(text)
    load_project(project)
    assert problems("models.json", yaml.safe_load(text)) == []
    wrong = text.replace(old, new, 1)
    assert wrong != text
    path.write_text(wrong)
    with pytest.raises(ProjectError):
        load_project(project)
    assert problems("models.json", yaml.safe_load(wrong))


def test_schema_writes_into_the_projects_folder_or_the_named_one(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    code, stdout, _ = invoke("schema", "--project-dir", project)
    folder = project / SCHEMAS_FOLDER
    assert (code, stdout.split()) == (0, [str(folder / name) for name in schemas()])
    assert invoke("schema", "--project-dir", project, "--to", tmp_path / "elsewhere")[0] == 0
    for name, schema in schemas().items():
        assert json.loads((tmp_path / "elsewhere" / name).read_text()) == schema


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, stderr = invoke("schema", "--project-dir", ROOT, "--to", tmp_path / "file")
    assert (code, len(stderr.splitlines())) == (1, 1)
    assert "cannot be written: File exists; choose another folder with --to" in stderr
    code, _, stderr = invoke("schema", "--project-dir", tmp_path)
    assert (code, (tmp_path / SCHEMAS_FOLDER).exists()) == (2, False)
