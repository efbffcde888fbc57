"""Completion: names of audiences, models and parameters, by typer's own way to ask for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, tiny_project


def completed(line: str, folder: Path = ROOT) -> list[str]:
    """What bash is told for the last word of a line; nothing else may be printed."""
    words = line.split(" ")
    asked = {
        "_AUDIENCES_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    program = "import sys; sys.argv[0] = 'audiences'; from runner.cli.app import app; app(prog_name='audiences')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("audiences run la", ["layer2-trending", "layer3-behavior", "layer5-new-users"]),
        ("audiences explain generate_layer_3", ["generate_layer_3_push_csvs"]),
        ("audiences compile layer3-behavior --model layer3_pr", ["layer3_preferred_size", "layer3_prioritized", "layer3_profiles"]),
        ("audiences show stg_of", ["stg_offer_items", "stg_offers"]),
        ("audiences show stg_offers --audience layer3", ["layer3-behavior"]),
        ("audiences run layer3-behavior --var min_", ["min_inventory_count=", "min_wishlist_count="]),
        ("audiences show stg_offers --var use", ["use_next_best_action="]),
        ("audiences run nonsense", []),
    ],
)  # fmt: skip
def test_names_are_completed(line: str, names: list[str]) -> None:
    assert completed(line) == names


def test_another_projects_names_are_completed_if_it_is_named(tmp_path: Path) -> None:
    project = tiny_project(
        tmp_path / "p", parameters="{name: most, type: integer, default: 2, description: d}"
    )
    assert completed(f"audiences run --project-dir {project} ", tmp_path) == ["tiny"]
    assert completed(f"audiences run tiny --project-dir {project} --var ", tmp_path) == ["most="]


def test_outside_a_project_or_in_a_broken_one_nothing_is_said(tmp_path: Path) -> None:
    assert completed("audiences run ", tmp_path) == []
    project = tiny_project(tmp_path / "p")
    (project / "models" / "tiny.yml").write_text("audiences: [")
    for line in ("audiences run ", "audiences show ", "audiences run tiny --var "):
        assert completed(line, project) == []


def test_zsh_is_told_a_line_about_each(tmp_path: Path) -> None:
    asked = {
        "_AUDIENCES_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": "audiences run tiny --var ",
    }
    parameter = "{name: most, type: integer, default: 2, description: How many at most.}"
    project = tiny_project(tmp_path / "p", parameters=parameter)
    program = "from runner.cli.app import app; app(prog_name='audiences')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **asked}, capture_output=True, text=True, check=True, cwd=project,
    )  # fmt: skip
    assert '"most=":"default 2' in done.stdout
    assert "How many at most." in done.stdout
