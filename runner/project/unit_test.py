"""What `unit_tests:` in the YAML below models/ may contain, in dbt's words."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from runner.errors import Location, ProjectError, did_you_mean
from runner.project.yaml import Loc, StrictModel, YamlDocument, validated

NodeKey = str | tuple[str, str]
"""A model's name, or a source's and its table's."""

_REF = re.compile(r"""\s*ref\(\s*(['"])(\w+)\1\s*\)\s*""")
_SOURCE = re.compile(r"""\s*source\(\s*(['"])(\w+)\1\s*,\s*(['"])(\w+)\3\s*\)\s*""")


def _is_plain(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool | date):
        raise ValueError("a value is text, a number, true, false or null; quote JSON as text")
    if isinstance(value, str) and any(one == "\0" or "\ud800" <= one <= "\udfff" for one in value):
        raise ValueError("a value contains a character that PostgreSQL cannot store")
    return value


Plain = Annotated[Any, AfterValidator(_is_plain)]
Row = dict[str, Plain]


class Fixture(StrictModel):
    """Rows by column. `format: csv` is text with a header; an empty field there is NULL."""

    format: Literal["dict", "csv"] = "dict"
    rows: Annotated[
        list[Row],
        WithJsonSchema(
            {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "string"}]}
        ),
    ]

    @model_validator(mode="before")
    @classmethod
    def _rows_of_csv(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("format") == "csv":
            return {**given, "rows": _csv_rows(given.get("rows"))}
        return given


def _csv_rows(text: Any) -> list[Row]:
    if not isinstance(text, str):
        raise ValueError("with format: csv, rows is text: write rows: | and the lines below it")
    lines = csv.reader(text.strip("\n").splitlines())
    header = [name.strip() for name in next(lines, [])]
    rows = list(lines)
    if not header or any(len(row) != len(header) for row in rows):
        raise ValueError("each line of the csv has as many fields as its header")
    return [{name: value or None for name, value in zip(header, row, strict=True)} for row in rows]


class Given(Fixture):
    """The rows that one input of the model has."""

    input: str

    @field_validator("input")
    @classmethod
    def _is_an_input(cls, given: str) -> str:
        if not (_REF.fullmatch(given) or _SOURCE.fullmatch(given)):
            raise ValueError(f"{given!r} is neither ref('model') nor source('source', 'table')")
        return given

    @property
    def key(self) -> NodeKey:
        if found := _REF.fullmatch(self.input):
            return found[2]
        source = _SOURCE.fullmatch(self.input)
        assert source
        return source[2], source[4]


class Expect(Fixture):
    """The rows that the model must make, in any order; only columns named here are compared."""

    @field_validator("rows")
    @classmethod
    def _name_the_same_columns(cls, rows: list[Row]) -> list[Row]:
        for number, row in enumerate(rows, start=1):
            if set(row) != set(rows[0]) or not row:
                raise ValueError(
                    f"row {number} names the columns {', '.join(row) or '(none)'}, the first one "
                    f"{', '.join(rows[0]) or '(none)'}: name the same in all"
                )
        return rows


class MacroOverrides(StrictModel):
    """Of dbt's macros and context values only the run's start can be set here."""

    run_started_at: str | None = None

    @field_validator("run_started_at", mode="before")
    @classmethod
    def _is_an_instant(cls, given: Any) -> Any:
        try:
            moment = datetime.fromisoformat(given)
        except (TypeError, ValueError):
            moment = datetime.min
        if moment.tzinfo is None:
            raise ValueError(
                f'{str(given)!r} is not a time in quotes: write "2025-11-28 12:00:00+00:00"'
            )
        return given


class Overrides(StrictModel):
    """Parameters and the run's start, for one case."""

    vars: dict[str, Plain] = {}
    macros: MacroOverrides = MacroOverrides()


class EquivalentChange(StrictModel):
    """A change of the model's SQL that no unit test can notice, because the result is the same.

    An entry explains one change: it is an error if several fit it.
    """

    line: str = Field(
        min_length=1,
        description="the whole line of SQL in which the change starts; indents do not matter",
    )
    after: str | None = Field(
        default=None,
        description="for a line that the SQL has more than once: the line above it, or several; "
        "without blank lines and comments",
    )
    original: str = Field(
        alias="from",
        min_length=1,
        description="what is changed, as `audiences test --unit --mutate` shows it",
    )
    to: str = Field(description="what it is changed to; empty if it is left out")
    reason: str = Field(min_length=1, description="why the result is the same")

    @property
    def change(self) -> tuple[str, str]:
        return self.original, self.to


class UnitTestMeta(BaseModel):
    """Any other key is allowed, as dbt leaves `meta` to its users."""

    model_config = ConfigDict(frozen=True, extra="allow")

    equivalent_changes: list[EquivalentChange] = Field(
        default=[], description="changes of the model's SQL that no unit test can notice"
    )


class UnitTestConfig(StrictModel):
    enabled: bool = True
    tags: list[str] = []
    meta: UnitTestMeta = UnitTestMeta()


class UnitTest(StrictModel):
    """One case of a model: what it is given, and what it must make of it."""

    name: str = Field(pattern=r"^\w{1,120}$")
    description: str = ""
    model: str
    given: list[Given]
    expect: Expect
    overrides: Overrides = Overrides()
    config: UnitTestConfig = UnitTestConfig()


@dataclass(frozen=True)
class UnitCase:
    """A case and its place in its file."""

    test: UnitTest
    document: YamlDocument = field(repr=False)
    index: int

    @property
    def name(self) -> str:
        return f"{self.test.model}::{self.test.name}"

    @property
    def location(self) -> Location:
        return self.location_of("name")

    def location_of(self, *below: str | int) -> Location:
        """The place of a part of the case."""
        return self.document.location(("unit_tests", self.index, *below))

    def row_location(self, fixture: Loc, number: int) -> Location:
        """The place of a row, counted from 0; rows in csv have one line each."""
        data = self.document.data["unit_tests"][self.index]
        for step in fixture:
            data = data[step]
        if isinstance(data["rows"], list):
            return self.location_of(*fixture, "rows", number)
        rows = self.location_of(*fixture, "rows")
        return replace(rows, line=(rows.line or 0) + 2 + number)

    def started_at(self, default: datetime) -> datetime:
        """The instant that the case calls `run_started_at`, in UTC."""
        given = self.test.overrides.macros.run_started_at
        return datetime.fromisoformat(given).astimezone(UTC) if given else default


class _UnitTests(BaseModel):
    """The part of a YAML file that holds unit tests."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    unit_tests: list[UnitTest] = []


def read_unit_cases(
    documents: Iterable[YamlDocument],
    models: Collection[str],
    sources: Collection[tuple[str, str]],
) -> tuple[UnitCase, ...]:
    """All enabled cases, cross-checked. Raises `ProjectError` with file and line."""
    cases = tuple(
        UnitCase(test, document, index)
        for document in documents
        for index, test in enumerate(validated(document, _UnitTests, ProjectError).unit_tests)
    )
    taken: dict[str, UnitCase] = {}
    for case in cases:
        if case.name in taken:
            raise ProjectError(
                f"there are two cases {case.name}",
                where=case.location,
                looked_at=f"the other is {taken[case.name].location}",
                fix="rename one",
            )
        taken[case.name] = case
        _check_names(case, models, sources)
    return tuple(case for case in cases if case.test.config.enabled)


def _check_names(
    case: UnitCase, models: Collection[str], sources: Collection[tuple[str, str]]
) -> None:
    if case.test.model not in models:
        raise ProjectError(
            f"there is no model {case.test.model!r}",
            where=case.location_of("model"),
            fix=did_you_mean(case.test.model, models),
        )
    seen: set[NodeKey] = set()
    for index, given in enumerate(case.test.given):
        where = case.location_of("given", index, "input")
        if given.key in seen:
            raise ProjectError(
                f"{given.input} is given twice", where=where, fix="put its rows into one entry"
            )
        seen.add(given.key)
        known = list(models) if isinstance(given.key, str) else _dotted(sources)
        name = given.key if isinstance(given.key, str) else ".".join(given.key)
        if name not in known:
            kind = "model" if isinstance(given.key, str) else "source table"
            fix = did_you_mean(name, known)
            raise ProjectError(f"there is no {kind} {name!r}", where=where, fix=fix)


def _dotted(sources: Iterable[tuple[str, str]]) -> list[str]:
    return [".".join(key) for key in sources]


def selected(cases: Iterable[UnitCase], wanted: Collection[str]) -> Iterator[UnitCase]:
    """The cases whose model, name or `model::name` is wanted; all of them if nothing is."""
    for case in cases:
        if not wanted or {case.name, case.test.model, case.test.name} & set(wanted):
            yield case
