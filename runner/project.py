"""models/ -> one frozen `Project`: models, sources and audiences, cross-checked.

Nothing is rendered here and no database is needed. Every misfit is a `ProjectError` with file
and line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from runner.errors import Location, ProjectError, UsageError, did_you_mean
from runner.properties import (
    IDENTIFIER,
    Audience,
    ModelProperties,
    Output,
    Properties,
    SourceDefinition,
)
from runner.yaml_files import Loc, YamlDocument, read_yaml, validated

MODELS_FOLDER = "models"


@dataclass(frozen=True)
class Model:
    """One .sql file. It alone knows the names that its rows go by in SQL."""

    name: str
    path: Path
    source_text: str = field(repr=False)
    properties: ModelProperties | None = field(default=None, repr=False)

    @property
    def location(self) -> Location:
        return Location(self.path)

    @property
    def temp_relation(self) -> str:
        return f"pg_temp.{self.name}"

    @property
    def cte_name(self) -> str:
        return f"__cte__{self.name}"

    @property
    def materialized(self) -> str | None:
        return self.properties.config.materialized if self.properties else None


@dataclass(frozen=True)
class Source:
    """One table of the application."""

    source_name: str
    schema: str
    table: str
    columns: tuple[tuple[str, str | None], ...]
    location: Location

    @property
    def relation(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table)}"


@dataclass(frozen=True)
class Project:
    """All that models/ holds. Model names are unique; audiences answer to aliases too."""

    root: Path
    models: dict[str, Model]
    sources: dict[tuple[str, str], Source]
    audiences: dict[str, Audience]
    documents: tuple[YamlDocument, ...] = field(repr=False)

    def audience(self, name: str) -> Audience:
        """The audience of that name or alias. Raises `UsageError` with the closest names."""
        for audience in self.audiences.values():
            if name == audience.name or name in audience.aliases:
                return audience
        known = [alias for one in self.audiences.values() for alias in (one.name, *one.aliases)]
        raise UsageError(
            f"there is no audience {name!r}", mend=f"{did_you_mean(name, known)} (audiences list)"
        )

    def model(self, name: str) -> Model:
        """The model of that name. Raises `UsageError` with the closest names."""
        if name not in self.models:
            raise UsageError(f"there is no model {name!r}", mend=did_you_mean(name, self.models))
        return self.models[name]

    def audience_location(self, audience: Audience, *below: str | int) -> Location:
        """The place in YAML of an audience, or of something below it."""
        for document, index, candidate in _each(self.documents, "audiences"):
            if candidate.get("name") == audience.name:
                return document.location(("audiences", index, *below))
        raise KeyError(audience.name)

    @cached_property
    def models_hash(self) -> str:
        """sha256 over path and content of every file that decides what a run does."""
        digest = hashlib.sha256()
        for path in _files(self.root / MODELS_FOLDER, ".sql", ".yml", ".yaml"):
            digest.update(f"{path.relative_to(self.root).as_posix()}\0".encode())
            digest.update(path.read_bytes() + b"\0")
        return digest.hexdigest()


def quoted(identifier: str) -> str:
    """`identifier` as PostgreSQL quotes names."""
    return '"' + identifier.replace('"', '""') + '"'


def load_project(project_dir: Path) -> Project:
    """Read `project_dir`/models. Raises `ProjectError` for the first thing wrong in it."""
    folder = project_dir / MODELS_FOLDER
    if not folder.is_dir():
        raise ProjectError(
            "there is no models folder here",
            where=Location(folder),
            mend="run in the project's folder, or name it with --project-dir",
        )
    documents = tuple(
        read_yaml(path, path.relative_to(project_dir), ProjectError)
        for path in _files(folder, ".yml", ".yaml")
    )
    parts = [(document, validated(document, Properties, ProjectError)) for document in documents]
    project = Project(
        root=project_dir,
        models=_models(project_dir, folder, parts),
        sources=_sources(parts),
        audiences=_audiences(parts),
        documents=documents,
    )
    for audience in project.audiences.values():
        _check_audience(project, audience)
    return project


def _files(folder: Path, *endings: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in endings and path.is_file())


Parts = Iterable[tuple[YamlDocument, Properties]]


def _models(root: Path, folder: Path, parts: Parts) -> dict[str, Model]:
    described = _described(parts)
    models: dict[str, Model] = {}
    for file in _files(folder, ".sql"):
        path, name = file.relative_to(root), file.stem
        if name in models:
            raise ProjectError(
                f"there are two models {name!r}",
                where=Location(path),
                looked_at=f"the other is {models[name].path}",
                mend="rename one file: names are unique in the project",
            )
        if not re.match(IDENTIFIER, name):
            raise ProjectError(
                f"{name!r} cannot name a model",
                where=Location(path),
                mend="use lower case letters, digits and _, at most 50",
            )
        properties, _ = described.pop(name, (None, None))
        models[name] = Model(name, path, _read_text(file, path), properties)
    for name, (_, where) in described.items():
        raise ProjectError(
            f"there is no file {name}.sql for this model",
            where=where,
            mend=did_you_mean(name, models),
        )
    return models


def _described(parts: Parts) -> dict[str, tuple[ModelProperties, Location]]:
    found: dict[str, tuple[ModelProperties, Location]] = {}
    for document, properties in parts:
        for index, model in enumerate(properties.models):
            where = document.location(("models", index, "name"))
            if model.name in found:
                other = f"the other is {found[model.name][1]}"
                raise ProjectError(
                    f"model {model.name!r} is described twice", where=where, looked_at=other
                )
            found[model.name] = (model, where)
    return found


def _read_text(file: Path, path: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ProjectError(
            f"cannot be read as UTF-8 text: {problem}", where=Location(path), mend="see to the file"
        ) from None
    if any(character in text for character in "\0\x01\x02"):
        raise ProjectError("holds control characters", where=Location(path), mend="remove them")
    return text


def _sources(parts: Parts) -> dict[tuple[str, str], Source]:
    sources: dict[tuple[str, str], Source] = {}
    for document, properties in parts:
        for index, definition in enumerate(properties.sources):
            for source in _tables(document, ("sources", index), definition):
                key = (source.source_name, source.table)
                if key in sources:
                    raise ProjectError(
                        f"source table {'.'.join(key)} is declared twice",
                        where=source.location,
                        looked_at=f"the other is {sources[key].location}",
                    )
                sources[key] = source
    return sources


def _tables(document: YamlDocument, at: Loc, definition: SourceDefinition) -> Iterator[Source]:
    for index, table in enumerate(definition.tables):
        columns = tuple((column.name, column.data_type) for column in table.columns)
        where = document.location((*at, "tables", index))
        yield Source(definition.name, definition.db_schema, table.name, columns, where)


def _audiences(parts: Parts) -> dict[str, Audience]:
    audiences: dict[str, Audience] = {}
    taken: dict[str, Location] = {}
    for document, properties in parts:
        for index, audience in enumerate(properties.audiences):
            where = document.location(("audiences", index, "name"))
            for name in (audience.name, *audience.aliases):
                if name in taken:
                    raise ProjectError(
                        f"two audiences answer to {name!r}",
                        where=where,
                        looked_at=f"the other is {taken[name]}",
                    )
                taken[name] = where
            audiences[audience.name] = audience
    return audiences


def _each(documents: Iterable[YamlDocument], key: str) -> Iterator[tuple[YamlDocument, int, dict]]:  # type: ignore[type-arg]
    for document in documents:
        for index, item in enumerate((document.data or {}).get(key) or []):
            yield document, index, item


def _check_audience(project: Project, audience: Audience) -> None:
    named = [(audience.activity_model, ("activity_model",))]
    named += [(step.model, ("funnel", i, "model")) for i, step in enumerate(audience.funnel)]  # type: ignore[misc]
    named += [(output.model, ("outputs", i, "model")) for i, output in enumerate(audience.outputs)]  # type: ignore[misc]
    for name, below in named:
        if name not in project.models:
            raise ProjectError(
                f"there is no model {name!r}",
                where=project.audience_location(audience, *below),
                mend=did_you_mean(name, project.models),
            )
    _check_unique(
        project, audience, "audience_type", [one.audience_type for one in audience.outputs]
    )
    _check_unique(project, audience, "file", [one.file for one in audience.outputs])
    for index, output in enumerate(audience.outputs):
        _check_test_row(project, audience, index, output)


def _check_unique(project: Project, audience: Audience, key: str, values: list[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ProjectError(
                f"two outputs have the {key} {value!r}",
                where=project.audience_location(audience, "outputs", index, key),
            )


def _check_test_row(project: Project, audience: Audience, index: int, output: Output) -> None:
    """Each column of a file has exactly one value for its test file."""
    covered = audience.test_row.columns
    for column in output.columns:
        if covered.count(column) != 1:
            raise ProjectError(
                f"test_row says {covered.count(column)} values for column {column!r} of "
                f"{output.audience_type}",
                where=project.audience_location(audience, "outputs", index, "columns"),
                mend="name it once, in test_user, run_start or placeholders",
            )
