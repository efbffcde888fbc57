"""What YAML and SQL say of a model or source in words: grain, columns, tests, unit cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.project.nodes import Project, Source
from runner.project.properties import AcceptedValuesTest, Column, NamedTest, RelationshipsTest
from runner.tools.docs.entries import ColumnEntry, Fixture, UnitCase
from runner.tools.docs.lineage import Origin


def grain(source_text: str) -> str:
    """The comment that a model begins with."""
    lines = []
    for line in source_text.lstrip().splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)


def column_entry(name: str, column: Column | None, origin: Origin | None) -> ColumnEntry:
    """A column with what its description says, if it has one."""
    if column is None:
        return ColumnEntry(name, "", None, False, (), origin)
    return ColumnEntry(
        name,
        column.description.strip(),
        column.data_type,
        column.config.meta.personal,
        tuple(map(_test_words, column.data_tests)),
        origin,
    )


def _test_words(test: NamedTest) -> str:
    """A data test in words, with what its config changes."""
    body = test.body
    words = test.kind.replace("_", " ")
    if isinstance(body, AcceptedValuesTest):
        words = f"one of {', '.join(map(str, body.arguments.values))}"
    elif isinstance(body, RelationshipsTest):
        words = f"is a {body.arguments.field} of {body.arguments.to}"
    words += f" where {body.config.where}" if body.config.where else ""
    return words + (" (warns)" if body.config.severity == "warn" else "")


def source_words(project: Project, source: Source) -> tuple[str, tuple[ColumnEntry, ...]]:
    """What the YAML says of a source table that `Source` does not carry."""
    for document in project.documents:
        for definition in (document.data or {}).get("sources") or []:
            for table in definition["tables"]:
                if (definition["name"], table["name"]) == (source.source_name, source.table):
                    columns = [Column.model_validate(one) for one in table["columns"]]
                    return table.get("description", ""), tuple(
                        column_entry(one.name, one, None) for one in columns
                    )
    raise KeyError(source.table)


def unit_cases(project: Project, model: str) -> Iterator[UnitCase]:
    """The `unit_tests` of a model, as the YAML has them."""
    for document in project.documents:
        for case in (document.data or {}).get("unit_tests") or []:
            if case["model"] == model:
                yield _unit_case(case)


def _unit_case(case: Mapping[str, Any]) -> UnitCase:
    overrides = case.get("overrides") or {}
    settings = [*(overrides.get("vars") or {}).items(), *(overrides.get("macros") or {}).items()]
    fixtures = [_fixture(f"Given {one['input']}", one) for one in case.get("given") or []]
    return UnitCase(
        case["name"],
        case.get("description") or "",
        tuple((name, plain(value)) for name, value in settings),
        (*fixtures, _fixture("Expected", case.get("expect") or {})),
    )


def _fixture(title: str, given: Mapping[str, Any]) -> Fixture:
    rows = given.get("rows") or []
    if isinstance(rows, str):
        return Fixture(title, (), (), rows)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    cells = tuple(
        tuple(plain(row[name]) if name in row else "" for name in columns) for row in rows
    )
    return Fixture(title, columns, cells)


def plain(value: object) -> str:
    """A value as YAML has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
