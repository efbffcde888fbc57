"""Strict YAML: every value knows its line, no key twice, no key unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from runner.errors import Location, UsageError, did_you_mean

Loc = tuple[str | int, ...]

LONGEST_DOCUMENT = 50_000
"""Keys and items, aliases counted as often as they are used."""
_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")

_LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # ten times faster where libyaml is built in


class StrictModel(BaseModel):
    """What a YAML mapping may hold: declared keys of declared types, nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass(frozen=True)
class YamlDocument:
    """One YAML file: its data and the line of every key and item, by path from the top."""

    path: Path
    data: Any
    lines: dict[Loc, int] = field(repr=False)
    text: str | None = field(default=None, repr=False)
    """Shown around what is wrong; None for a file that may hold secrets."""

    def location(self, loc: Loc) -> Location:
        """The place of a value, or of its nearest container."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return Location(self.path, self.lines.get(loc, 1), text=self.text)


def read_yaml(
    file: Path, shown_as: Path, error: type[UsageError], *, may_be_shown: bool = True
) -> YamlDocument:
    """Read one file. Raises `error` with file and line for anything that is not plain YAML.

    Errors show the lines around what is wrong, unless the file may hold secrets.
    """
    shown: str | None = None
    try:
        text = file.read_text(encoding="utf-8")
        shown = text if may_be_shown else None
        loader = _LOADER(text)
        node = loader.get_single_node()
        lines: dict[Loc, int] = {}
        if node is not None:
            _note_lines(node, (), lines, shown_as, error)
            data = loader.construct_document(node)
        else:
            data = None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = _marked(shown_as, mark, shown)
        what = f"this is not YAML: {problem.problem or problem.context}"
        raise error(what, where=where, fix="check indents, quotes and colons there") from None
    except RecursionError:
        raise error(
            "this YAML refers to itself",
            where=Location(shown_as),
            fix="remove the alias that refers to what contains it",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        what = f"this is not YAML in UTF-8: {str(problem).splitlines()[0]}"
        raise error(what, where=Location(shown_as), fix="save it as UTF-8 text") from None
    except OSError as problem:
        raise error(
            f"cannot be read: {problem.strerror}",
            where=Location(shown_as),
            fix="check that the file exists and that this user may read it",
        ) from None
    return YamlDocument(shown_as, data, lines, shown)


def _marked(path: Path, mark: yaml.Mark | None, text: str | None) -> Location:
    if mark is None:
        return Location(path)
    return Location(path, mark.line + 1, mark.column + 1, text)


def _note_lines(
    node: yaml.Node, loc: Loc, lines: dict[Loc, int], path: Path, error: type[UsageError]
) -> None:
    lines.setdefault(loc, node.start_mark.line + 1)
    if len(lines) > LONGEST_DOCUMENT:
        raise error("this YAML has too many values, or refers to itself", where=Location(path))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*loc, index), lines, path, error)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag not in _KEY_TAGS:
                raise error(
                    f"the key {getattr(key, 'value', '')!r} is not text",
                    where=Location(path, key.start_mark.line + 1),
                    fix="quote it",
                )
            below = (*loc, str(key.value))
            if below in lines:
                raise error(
                    f"key {key.value!r} is here twice",
                    where=Location(path, key.start_mark.line + 1),
                    fix=f"keep one; the other is on line {lines[below]}",
                )
            lines[below] = key.start_mark.line + 1
            _note_lines(value, below, lines, path, error)


def validated(
    document: YamlDocument, model: type[AnyModel], error: type[UsageError], at: Loc = ()
) -> AnyModel:
    """The document, or the part of it at `at`, as `model`; raises `error` for the first misfit."""
    data = document.data
    for step in at:
        data = data[step]
    try:
        return model.model_validate(data if data is not None else {})
    except ValidationError as problem:
        # a misspelt key that is required is both missing and unknown: the latter can be fixed
        errors = problem.errors(include_url=False)
        unknown = [one for one in errors if one["type"] == "extra_forbidden"]
        first = (unknown or errors)[0]
        loc = _as_written(document, at, tuple(first["loc"]))
        where = document.location((*at, *loc))
        if first["type"] == "extra_forbidden":
            fix = did_you_mean(str(loc[-1]), _keys_at(model, loc[:-1]))
            raise error(f"unknown key {str(loc[-1])!r}", where=where, fix=fix) from None
        name = ".".join(str(step) for step in loc) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        raise error(f"{name}: {message}", where=where) from None


def _as_written(document: YamlDocument, at: Loc, loc: Loc) -> Loc:
    """pydantic's path to a misfit, without the steps by which it names the member of a union."""
    kept: Loc = ()
    for step in loc[:-1]:
        if (*at, *kept, step) in document.lines:
            kept += (step,)
    return (*kept, *loc[-1:])


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that `model` knows at a place below it."""
    current: Any = model
    for step in loc:
        if isinstance(step, str) and isinstance(current, type) and issubclass(current, BaseModel):
            current = (
                current.model_fields[step].annotation if step in current.model_fields else None
            )
        current = _model_within(current)
    is_model = isinstance(current, type) and issubclass(current, BaseModel)
    if not is_model:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _model_within(annotation: Any) -> Any:
    """The model in `list[Model]`, `Model | None` and the like, else the annotation itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [inner for inner in map(_model_within, get_args(annotation)) if inner]
    models = [inner for inner in found if isinstance(inner, type) and issubclass(inner, BaseModel)]
    return models[0] if models else annotation
