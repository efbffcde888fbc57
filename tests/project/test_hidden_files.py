"""Names that begin with a dot are no part of a project, in any folder that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.project.load import load_project
from tests.support import tiny_project


@pytest.mark.parametrize("folder", ["models", "macros", "tests/data_tests", "tests/generic"])
@pytest.mark.parametrize("name", ["._copy.sql", ".hidden/x.sql", "..2026_11_26/deep/er/x.sql"])
def test_hidden_files_and_folders_are_passed_over(tmp_path: Path, folder: str, name: str) -> None:
    project = tiny_project(tmp_path / "p")
    before = load_project(project)
    path = project / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff not SQL")
    path.with_suffix(".yml").write_bytes(b"audiences: [")
    after = load_project(project)
    assert (after.models, after.macros, after.singular_tests) == (
        before.models, before.macros, before.singular_tests,
    )  # fmt: skip
    assert after.models_hash == before.models_hash


def test_a_project_mounted_from_a_config_map_is_read(tmp_path: Path) -> None:
    """Kubernetes keeps the files in a hidden folder and links to them at the top."""
    project = tiny_project(tmp_path / "p")
    names = set(load_project(project).models)
    models = project / "models"
    mounted = models / "..2026_11_26"
    mounted.mkdir()
    for file in [file for file in models.iterdir() if file.is_file()]:
        file.rename(mounted / file.name)
        file.symlink_to(Path("..data", file.name))
    (models / "..data").symlink_to("..2026_11_26")
    assert set(load_project(project).models) == names


def test_a_project_may_itself_lie_in_a_hidden_folder(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / ".work" / "p")
    assert load_project(project).models
