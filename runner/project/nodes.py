"""What models/ holds, as frozen values: models, sources and audiences, and how SQL names them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Location, UsageError, did_you_mean
from runner.project.audience import Audience
from runner.project.properties import IndexDeclaration, ModelProperties
from runner.project.yaml import YamlDocument

if TYPE_CHECKING:
    from runner.project.unit_test import UnitCase

MODELS_FOLDER = "models"
SINGULAR_TESTS_FOLDER = "tests/data_tests"
"""Outside of models, where dbt would take each of them for a model (its `test-paths`)."""
GENERIC_TESTS_FOLDER = "tests/generic"
TEST_PREFIX = "test_"
"""What dbt puts before the name of a generic data test: it is a macro like others."""


@dataclass(frozen=True)
class Model:
    """One .sql file: a model, or a singular test of models. It alone knows the names that its
    rows go by in SQL."""

    name: str
    path: Path
    source_text: str = field(repr=False)
    properties: ModelProperties | None = field(default=None, repr=False)
    is_test: bool = False

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
class Macro:
    """One `{% macro %}`, or one `{% test %}`, whose name then begins with `test_`.

    `defaults` are the arguments that need not be given. `takes_more`: it reads `kwargs` or
    `varargs`.
    """

    name: str
    path: Path
    source_text: str = field(repr=False)
    line: int
    arguments: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    takes_more: bool = False

    @property
    def location(self) -> Location:
        return Location(self.path, self.line, text=self.source_text)


@dataclass(frozen=True)
class Source:
    """One table of the application."""

    source_name: str
    schema: str
    table: str
    columns: tuple[tuple[str, str | None], ...]
    location: Location
    personal: frozenset[str] = frozenset()
    indexes: tuple[tuple[IndexDeclaration, Location], ...] = ()

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
    singular_tests: dict[str, Model] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)
    package: str | None = None
    """The project's name in dbt, if there is a dbt_project.yml."""

    def audience(self, name: str) -> Audience:
        """The audience of that name or alias. Raises `UsageError` with the closest names."""
        for audience in self.audiences.values():
            if name == audience.name or name in audience.aliases:
                return audience
        known = [alias for one in self.audiences.values() for alias in (one.name, *one.aliases)]
        raise UsageError(
            f"there is no audience {name!r}", fix=f"{did_you_mean(name, known)} (audiences list)"
        )

    @cached_property
    def unit_cases(self) -> tuple[UnitCase, ...]:
        """The cases of all unit tests, read when they are first asked for: runs need none.

        Raises `ProjectError` with file and line.
        """
        from runner.project.unit_test import read_unit_cases

        return read_unit_cases(self.documents, self.models, self.sources)

    def model(self, name: str) -> Model:
        """The model of that name. Raises `UsageError` with the closest names."""
        if name not in self.models:
            raise UsageError(f"there is no model {name!r}", fix=did_you_mean(name, self.models))
        return self.models[name]

    def properties_location(self, model: str, *below: str | int) -> Location:
        """The place in YAML that describes a model, or of something below it."""
        for document in self.documents:
            for index, candidate in enumerate((document.data or {}).get("models") or []):
                if candidate.get("name") == model:
                    return document.location(("models", index, *below))
        raise KeyError(model)

    def audience_location(self, audience: Audience, *below: str | int) -> Location:
        """The place in YAML of an audience, or of something below it."""
        for document in self.documents:
            for index, candidate in enumerate((document.data or {}).get("audiences") or []):
                if candidate.get("name") == audience.name:
                    return document.location(("audiences", index, *below))
        raise KeyError(audience.name)

    @cached_property
    def models_hash(self) -> str:
        """sha256 over path and content of every file that decides what a run does."""
        digest = hashlib.sha256()
        found = files(self.root / MODELS_FOLDER, ".sql", ".yml", ".yaml")
        found += files(self.root / SINGULAR_TESTS_FOLDER, ".sql")
        found += sorted({self.root / macro.path for macro in self.macros.values()})
        for path in found:
            digest.update(os.fsencode(path.relative_to(self.root).as_posix()) + b"\0")
            digest.update(path.read_bytes() + b"\0")
        return digest.hexdigest()


def quoted(identifier: str) -> str:
    """`identifier` as PostgreSQL quotes names."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as PostgreSQL quotes texts."""
    return "'" + text.replace("'", "''") + "'"


def files(folder: Path, *endings: str) -> list[Path]:
    """The files below a folder that end so, in order. Names that begin with a dot are passed over:
    a mounted Kubernetes ConfigMap and macOS keep copies there."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in endings
        and not any(name.startswith(".") for name in path.relative_to(folder).parts)
        and path.is_file()
    )
