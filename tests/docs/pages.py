"""What the tests of documents share: the pages, their code blocks, the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from runner.cli.app import app
from tests.support import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
DEPLOY = ROOT / "deploy"
EXAMPLE = ROOT / "examples" / "recently_seen"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_PARTS = re.compile(r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
"""Headings and code blocks, whichever comes first: a comment in a block is no heading."""


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str, heading: str | None = None) -> list[str]:
    """The code blocks of a language in a page, or those right under one of its headings."""
    found, last = [], None
    for title, fence, body in _PARTS.findall(path.read_text()):
        last = title or last
        if fence == language and body and heading in (None, last):
            found.append(body)
    return found


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", path.read_text())


def table_rows(path: Path, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the tables' own headings."""
    text = re.split(rf"^#+ {re.escape(heading)}\n", path.read_text(), flags=re.MULTILINE)[1]
    section = re.split(r"^#", text, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[1:]]


def commands(path: Path) -> list[str]:
    """Each line of a page that calls `audiences`: in blocks of shell, and behind a `$` in text."""
    shell = [line for block in blocks(path, "sh") for line in block.splitlines()]
    shown = [
        line.removeprefix("$ ")
        for block in blocks(path, "text")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    return [line for line in [*shell, *shown] if list(calls(line))]


def calls(line: str) -> Iterator[list[str]]:
    """The words behind `audiences`, for each call of it in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    call: list[str] | None = None
    skip_next = False
    for word in lexer:
        if set(word) <= set("();<>|&"):
            skip_next = "<" in word or ">" in word
            if call is not None and not skip_next:
                yield call
                call = None
        elif skip_next:
            skip_next = False
        elif call is not None:
            call.append(word)
        elif Path(word).name == "audiences":
            call = []
    if call is not None:
        yield call


def parsed(words: list[str]) -> dict[str, Any]:
    """What `audiences ...` makes of its words; fails where it would."""
    name, *rest = words
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, rest).params)


def known_options() -> dict[str, set[str]]:
    group: Any = get_command(app)
    own = {"audiences": {name for one in group.params for name in one.opts}}
    return own | {
        name: {option for one in command.params for option in [*one.opts, *one.secondary_opts]}
        for name, command in group.commands.items()
    }
