"""The shipped models keep to the dialect and say what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.project.load import load_project
from runner.sql.compile import compile_audience
from tests.support import AS_OF, ROOT

# The models


IMPORT_CTE = re.compile(
    r"""^\w+\ as\ \(\n\n
    \ {4}select(\ \*\ |\ \w+\ |\n(\ {8}\w+,\n)*\ {8}\w+\n\ {4})from\ \{\{\ ref\('\w+'\)\ \}\}\n\n
    \)""",
    re.MULTILINE | re.VERBOSE,
)
"""All of a model, or columns of a working table that is read for its key."""


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
    assert ("{{ source(" in text) is is_staging
    if is_staging:
        assert len(re.findall(r"^from \{\{ source\(.*\) \}\}$", text, re.MULTILINE)) == 1
    elif path.parent.name == "shared":
        # a plain select: PostgreSQL does not look into a subquery with a CTE list
        refs = re.findall(r"(?:from|join) \{\{ ref\('\w+'\) \}\} as \w+", text)
        assert len(refs) == text.count("{{ ref(")
    else:
        assert len(IMPORT_CTE.findall(text)) == text.count("{{ ref(")


@pytest.mark.parametrize("path", sql_files(), ids=lambda path: path.stem)
def test_what_is_inlined_into_several_models_is_one_plain_select(path: Path) -> None:
    is_plain = path.parent.name in ("staging", "shared")
    assert bool(re.search(r"^with$", path.read_text(), re.MULTILINE)) is not is_plain


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
