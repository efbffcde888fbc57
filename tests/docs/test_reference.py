"""docs/reference/: the generated pages are fresh, and the result's page names every key."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from runner.project.load import load_project
from tests.docs.pages import DOCS, known_options, table_rows
from tests.support import ROOT, Database, run_layer3

REFERENCE = DOCS / "reference"
AGAIN = "run: python docs/reference/generate.py"
MADE: dict[Path, str] = runpy.run_path(str(REFERENCE / "generate.py"))["pages"]()


@pytest.mark.parametrize("path", MADE, ids=str)
def test_a_generated_page_is_what_the_code_says(path: Path) -> None:
    assert (REFERENCE / path).read_text() == MADE[path], AGAIN


def test_there_is_a_page_for_each_command_and_no_other() -> None:
    pages = {path.stem for path in (REFERENCE / "commands").iterdir()}
    assert pages == set(known_options()) - {"audiences"}, AGAIN


def test_every_option_is_in_the_page_of_its_command() -> None:
    for name, options in known_options().items():
        path = Path("command-line.md" if name == "audiences" else f"commands/{name}.md")
        hidden = {"--where"} if name == "show" else set()
        assert options - hidden <= set(re.findall(r"`(--?[a-z-]+)", MADE[path])) | {
            one for one in options if not one.startswith("-")
        }


# The result


def keys(heading: str) -> set[str]:
    return {key for row in table_rows(REFERENCE / "result.md", heading) for key in named(row[0])}


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_page_of_the_result_names_every_key(golden: Database, tmp_path: Path) -> None:
    document: dict[str, Any] = run_layer3(golden, tmp_path / "out").as_json()
    assert keys("The result document") == set(document)
    assert keys("csvFiles") == set(document["csvFiles"][0])
    metadata = document["metadata"]
    assert keys("metadata") == set(metadata)
    for name in ("funnel", "dataTests", "sizeGuards", "attempts", "steps"):
        assert keys(f"metadata.{name}") == set(metadata[name][0]), name


def test_the_parameters_in_models_and_audiences_are_those_of_the_audience() -> None:
    rows = table_rows(DOCS / "analysts" / "models.md", "layer3-behavior")
    shown = {row[0].strip("`"): row[2] for row in rows}
    parameters = load_project(ROOT).audience("layer3-behavior").parameters
    assert shown == {
        one.name: str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
        for one in parameters
    }
