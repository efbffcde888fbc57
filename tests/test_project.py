"""The shipped models keep to the dialect and say what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.project.load import load_project
from runner.sql.compile import compile_audience
from tests.support import AS_OF, ROOT

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
