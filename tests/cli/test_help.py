"""The help of every command: one example that works, and a sentence for each option."""

from __future__ import annotations

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from runner.cli.app import COMMANDS, app
from runner.project.load import load_project
from tests.support import ROOT

NAMES = [name for names in COMMANDS.values() for name in names]
RIDDLES = r"\b(mends?|tells?|told|settled?|sightings?|gates?|tally|wordings?|anew)\b"
"""Words that a reader needs to have read something else for."""


def command_of(name: str) -> Any:
    return get_command(app).commands[name]  # type: ignore[attr-defined]


def test_each_file_of_commands_is_a_command() -> None:
    files = (ROOT / "runner" / "cli" / "commands").glob("*.py")
    assert sorted(NAMES) == sorted(path.stem for path in files if path.stem != "__init__")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_ends_with_one_example_that_parses(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "100"}, prog_name="audiences")
    assert done.exit_code == 0
    example = import_module(f"runner.cli.commands.{name}").EXAMPLE
    assert done.stdout.rstrip().endswith(f"Example: {example}")
    program, command, *arguments = shlex.split(example)
    assert (program, command) == ("audiences", name)
    command_of(name).make_context(name, arguments)


@pytest.mark.parametrize("name", NAMES)
def test_examples_name_what_the_shipped_project_has(name: str) -> None:
    project = load_project(ROOT)
    example = import_module(f"runner.cli.commands.{name}").EXAMPLE
    for word in re.findall(r"layer3[\w-]*", example):
        assert word in project.audiences or word in project.models


@pytest.mark.parametrize("name", NAMES)
def test_each_option_has_a_sentence_that_says_its_default(name: str) -> None:
    for parameter in command_of(name).params:
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        help_text = parameter.help or ""
        assert re.match(r"[A-Z].*\.$", help_text), (parameter.name, help_text)
        assert not re.search(RIDDLES, help_text, re.IGNORECASE), (parameter.name, help_text)
        if not parameter.required and parameter.default is None:
            assert "Default: " in help_text or "[AUDIENCE]" in str(parameter.metavar), (
                parameter.name
            )


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_described_in_plain_sentences(name: str) -> None:
    text = inspect.getdoc(import_module(f"runner.cli.commands.{name}").command) or ""
    assert text.split("\n\n")[0].count(".") >= 1
    assert not re.search(RIDDLES, text, re.IGNORECASE)
    assert all(paragraph.endswith(".") for paragraph in text.split("\n\n"))


def test_the_top_level_help_lists_every_command_and_exit_code() -> None:
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"})
    assert all(re.search(rf"^│ {name} ", done.stdout, re.MULTILINE) for name in NAMES)
    for code in ("0 done", "1 failed", "2 wrong usage", "3 some", "4 another", "129, 130 and 143"):
        assert code in " ".join(done.stdout.split())


def test_no_option_is_declared_twice() -> None:
    text = (ROOT / "runner" / "cli" / "options.py").read_text()
    declared = re.findall(r"^(\w+) = Annotated", text, re.MULTILINE)
    assert len(declared) == len(set(declared))
    used = "".join(path.read_text() for path in Path(ROOT / "runner/cli/commands").glob("*.py"))
    assert [name for name in declared if not re.search(rf"\b{name}\b", used)] == []
