"""Every page: short enough to read, links that lead somewhere, and nothing named that is not there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from runner.project.load import load_project
from tests.docs.pages import (
    DOCS,
    PAGES,
    README,
    blocks,
    calls,
    commands,
    known_options,
    page_name,
    parsed,
    prose,
)
from tests.support import ROOT

LONGEST_PAGE = 250
LONGEST_README = 200
WIDEST = 120
TOP_LEVEL = {
    "pyproject.toml", "models", "runner", "tests", "profiles.yml", "macros", "README.md", "docs",
    "examples", "deploy", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE",
}  # fmt: skip
OTHER_PROGRAMS = {"--fault-share", "--marketplaces", "--postgresql-host", "--postgresql-user", "--postgresql-password",
                  "--url", "--only", "--runs", "--help"}  # fmt: skip
"""Options of pytest and of the benchmark that pages name."""

each_page = pytest.mark.parametrize("path", PAGES, ids=page_name)


@each_page
def test_a_page_is_short_and_its_prose_narrow(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (
        LONGEST_README if path == README else LONGEST_PAGE
    )
    wide = [line for line in prose(path).splitlines() if len(line) > WIDEST and line[0] != "|"]
    assert wide == []


@each_page
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for link in re.findall(r"(?<!!)\[[^]]+\]\(([^)\s]+)\)", prose(path)):
        if link.startswith("https://"):
            continue
        target, _, heading = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        assert not heading or heading in anchors(there), link


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in re.findall(r"\]\(([^)]+)\)", index.read_text())
    }
    pages = set(DOCS.rglob("*.md")) - set((DOCS / "reference" / "commands").iterdir()) - {index}
    assert pages <= linked


@each_page
def test_every_command_is_one_that_audiences_takes(path: Path) -> None:
    for line in commands(path):
        for words in calls(line):
            if words[0].startswith("-"):
                assert words[0] in known_options()["audiences"], line
            else:
                parsed([word for word in words if word != "..."])


@each_page
def test_every_option_in_the_prose_exists(path: Path) -> None:
    known = known_options()
    every = set().union(*known.values())
    for code in re.findall(r"`([^`\n]+)`", prose(path)):
        call = re.match(r"audiences ([a-z]+)", code)
        if call is None and not code.startswith("-"):
            continue
        allowed = known[call[1]] | {"--help"} if call else every | OTHER_PROGRAMS
        options = re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", code)
        assert set(options) <= allowed, code


@each_page
def test_every_file_and_model_in_the_prose_exists(path: Path) -> None:
    models = load_project(ROOT).models
    text = prose(path)
    for name in re.findall(r"`((?:models|runner|tests|deploy|docs|examples)/[\w./*-]*)`", text):
        if "recently_seen" not in name:
            assert list(ROOT.glob(name.rstrip("/"))), name
    assert set(re.findall(r"`((?:layer3|stg)_\w+)(?:\.sql)?`", text)) <= set(models)


@each_page
def test_yaml_in_a_page_is_yaml(path: Path) -> None:
    for block in blocks(path, "yaml"):
        yaml.safe_load(block)


@pytest.mark.parametrize("page", [README, DOCS / "analysts" / "models.md"], ids=page_name)
def test_a_file_that_a_page_shows_whole_is_the_file(page: Path) -> None:
    (path,) = re.findall(r"This is `(\S+\.sql)`, whole", page.read_text())
    assert (ROOT / path).read_text() in list(blocks(page, "sql"))


def test_the_readme_names_every_parameter_and_every_command() -> None:
    text = README.read_text()
    for parameter in load_project(ROOT).audience("layer3-behavior").parameters:
        assert f"`{parameter.name}`" in text
    for name in set(known_options()) - {"audiences"}:
        assert f"`audiences {name}" in text


def test_the_two_lines_of_the_readme_are_what_ci_runs() -> None:
    run, test = blocks(README, "sh")[0].splitlines()
    for line in (run, test):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e ")
        assert subprocess.run(["bash", "-n", "-c", line]).returncode == 0
    assert parsed(next(calls(run)))["audience"] == "layer3-behavior"
    assert ".venv/bin/pytest" in test
    script = (ROOT / ".ci" / "run").read_text()
    (taken,) = re.findall(r"grep '\^([^']+)' README.md", script)
    assert [line for line in README.read_text().splitlines() if line.startswith(taken)] == [
        run,
        test,
    ]


def test_the_top_level_holds_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is no git repository")
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in names if name[0] != "."} <= TOP_LEVEL


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=page_name)
def test_a_diagram_declares_what_it_is(path: Path) -> None:
    for block in blocks(path, "mermaid"):
        assert re.match(r"flowchart (LR|TD)\n", block)
        assert block.count("[") == block.count("]") and block.count('"') % 2 == 0
