"""Writes the folder of a new audience: from a template, or as a copy of another audience."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path

from runner.errors import ExportError, UsageError
from runner.project.audience import Audience
from runner.project.load import load_project
from runner.project.nodes import MODELS_FOLDER, SINGULAR_TESTS_FOLDER, Project

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40
"""Models are named after the audience, and PostgreSQL cuts names of over 63 bytes."""
TEMPLATE_AUDIENCE = "new-audience"
TEMPLATE_SOURCE = ("marketplace", "users")
DATA_TESTS = Path("data_tests")
ONLY_ONE_HAS = ("aliases", "legacy")
"""Keys of an audience that a copy must not have: two audiences cannot share them."""

Contents = dict[Path, str]
"""Text of files by their path in the project."""


@dataclass(frozen=True)
class NewAudience:
    """What was written: paths in the project, the audience's folder first."""

    name: str
    folder: Path
    files: tuple[Path, ...]


def new_audience(project_dir: Path, name: str, source: str | None = None) -> NewAudience:
    """Write the folder of a new audience into a project, and its data tests.

    `source` is the name or an alias of the audience that is copied under new names; without one it
    is the template. Nothing that exists is changed.

    Raises `UsageError` if the name is not one, or if a file, a model or an audience of the new
    names exists already; `ProjectError` if the project itself has an error; `ExportError` if
    something cannot be written. Then nothing new is left in the project.
    """
    _check_name(name)
    project = load_project(project_dir)
    if name in {known for one in project.audiences.values() for known in (one.name, *one.aliases)}:
        raise UsageError(f"there is an audience {name!r} already", fix="choose another name")
    contents = (
        _of_template(project, name)
        if source is None
        else _of_audience(project, project.audience(source), name)
    )
    folder = Path(MODELS_FOLDER, _word(name))
    _check_that_all_are_new(project, folder, contents)
    _write(project.root, folder, contents)
    return NewAudience(name, folder, tuple(sorted(contents)))


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} is not a name for an audience",
            fix=f"use at most {LONGEST_NAME} small letters, digits and single hyphens, and begin "
            "with a letter, such as weekend-sellers",
        )


def _word(name: str) -> str:
    """A name as models and folders have it."""
    return name.replace("-", "_")


def _check_that_all_are_new(project: Project, folder: Path, contents: Contents) -> None:
    models = {path.stem for path in contents if path.suffix == ".sql"}
    taken = sorted(models & {*project.models, *project.singular_tests})
    if taken:
        raise UsageError(
            f"the project has a model or data test of this name: {', '.join(taken)}",
            fix="choose another name for the audience",
        )
    for path in (folder, *contents):
        if os.path.lexists(project.root / path):
            raise UsageError(
                f"{path} exists already, and nothing is overwritten",
                fix="choose another name for the audience, or move it away",
            )


def _write(root: Path, folder: Path, contents: Contents) -> None:
    """The data tests first: the audience's folder, without which they concern nobody, then appears
    whole. What was written is removed again if something cannot be."""
    written: list[Path] = []
    try:
        for path, text in contents.items():
            if not path.is_relative_to(folder):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                with (root / path).open("x", encoding="utf-8") as file:
                    written.append(root / path)
                    file.write(text)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=root / MODELS_FOLDER) as scratch:
            whole = Path(scratch, folder.name)
            for path, text in contents.items():
                if path.is_relative_to(folder):
                    target = whole / path.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(text, encoding="utf-8")
            whole.rename(root / folder)
    except OSError as problem:
        for path in written:
            path.unlink(missing_ok=True)
        raise ExportError(
            f"cannot be written: {problem.strerror}",
            where=str(problem.filename or root),
            fix="make its folder writable, or move away what is in its place",
        ) from None


# From the template


def _of_template(project: Project, name: str) -> Contents:
    names = {TEMPLATE_AUDIENCE: name, _word(TEMPLATE_AUDIENCE): _word(name)}
    folder = Path(MODELS_FOLDER, _word(name))
    contents = {}
    for path, text in _template_files(resources("runner.tools.new") / "template"):
        if path == Path("sources.yml") and TEMPLATE_SOURCE in project.sources:
            continue
        is_data_test = path.parent == DATA_TESTS
        place = Path(SINGULAR_TESTS_FOLDER, path.name) if is_data_test else folder / path
        contents[Path(_renamed(str(place), names))] = _renamed(text, names)
    return contents


def _template_files(folder: Traversable, below: Path = Path()) -> Iterator[tuple[Path, str]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _template_files(item, below / item.name)
        elif item.name.endswith((".sql", ".yml")):
            yield below / item.name, item.read_text(encoding="utf-8")


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """The same text with other names; a name is found inside of longer ones too."""
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)


# From another audience


def _of_audience(project: Project, audience: Audience, name: str) -> Contents:
    old = project.audience_location(audience).path.parent
    folder = Path(MODELS_FOLDER, _word(name))
    own = {model.name: model for model in project.models.values() if old in model.path.parents}
    if old == Path(MODELS_FOLDER):
        raise UsageError(
            f"audience {audience.name} has no folder of its own to copy",
            fix=f"move its YAML and its models into a folder below {MODELS_FOLDER}/",
        )
    prefix = _prefix(own)
    names = {model: _word(name) + "_" + model.removeprefix(prefix) for model in own}
    tests = {
        test.name: test
        for test in project.singular_tests.values()
        if any(re.search(rf"\b{re.escape(model)}\b", test.source_text) for model in own)
    }
    names |= {test: _word(name) + "_" + test.removeprefix(prefix) for test in tests}
    # longest first: a name may begin with another
    pattern = re.compile("|".join(rf"\b{re.escape(one)}\b" for one in sorted(names, key=len)[::-1]))

    def renamed(text: str) -> str:
        return pattern.sub(lambda found: names[found[0]], text)

    contents = {}
    for path in sorted((project.root / old).rglob("*")):
        below = path.relative_to(project.root / old)
        is_ours = path.suffix in (".sql", ".yml", ".yaml") and path.is_file()
        if is_ours and not any(part.startswith(".") for part in below.parts):
            text = path.read_text(encoding="utf-8")
            if path == project.root / project.audience_location(audience).path:
                text = _as_another(project, audience, text, name)
            stem = names.get(path.stem) or _word(name) + "_" + path.stem.removeprefix(prefix)
            is_named = path.stem in names or (prefix and path.stem.startswith(prefix))
            file = f"{stem if is_named else path.stem}{path.suffix}"
            contents[folder / below.parent / file] = renamed(text)
    for test in tests.values():
        path = Path(SINGULAR_TESTS_FOLDER, f"{names[test.name]}.sql")
        contents[path] = renamed(test.source_text)
    return contents


def _prefix(models: Collection[str]) -> str:
    """The words that the names of all models begin with; none of a single model's."""
    if len(models) < 2:
        return ""
    common: list[str] = []
    for words in zip(*(model.split("_")[:-1] for model in models), strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return "".join(f"{word}_" for word in common)


def _as_another(project: Project, audience: Audience, text: str, name: str) -> str:
    """The audience's YAML under another name, without what only one audience can have.

    Its files are named after it, so that both can write into one folder.
    """
    lines = text.split("\n")

    def line_of(*below: str | int) -> int:
        return (project.audience_location(audience, *below).line or 1) - 1

    def replace(line: int, old: str, new: str) -> None:
        lines[line] = lines[line].replace(old, new, 1)

    replace(line_of("name"), audience.name, name)
    for number, output in enumerate(audience.outputs):
        replace(line_of("outputs", number, "file"), output.file, f"{name}-{output.file}")
    given = audience.model_fields_set
    starts = sorted(line_of(key) for key in given)
    for key in sorted(set(ONLY_ONE_HAS) & given, key=line_of, reverse=True):
        start = line_of(key)
        end = next((other for other in starts if other > start), len(lines))
        del lines[start:end]
    return "\n".join(lines)
