"""models/ -> a Project whose names have all been checked against each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.errors import Location, ProjectError, did_you_mean
from runner.project.audience import IDENTIFIER, Audience, KeySource, Output
from runner.project.macros import (
    check_distinct,
    macro_folders,
    macros_of,
    package_name,
    read_dbt_project,
)
from runner.project.nodes import (
    GENERIC_TESTS_FOLDER,
    MODELS_FOLDER,
    SINGULAR_TESTS_FOLDER,
    TEST_PREFIX,
    Macro,
    Model,
    Project,
    Source,
    files,
)
from runner.project.properties import (
    CustomTest,
    IndexDeclaration,
    ModelProperties,
    NamedTest,
    Properties,
    SourceDefinition,
    SourceTable,
)
from runner.project.yaml import Loc, YamlDocument, read_yaml, validated


def check_column(project: Project, model: str, column: str, where: Location) -> None:
    """A column must be among those that its model describes, if it describes any."""
    properties = project.models[model].properties
    described = [one.name for one in properties.columns] if properties else []
    if described and column not in described:
        raise ProjectError(
            f"model {model} describes no column {column!r}",
            where=where,
            fix=did_you_mean(column, described),
        )


def check_trace(project: Project, audience: Audience) -> None:
    """What `trace:` names must be there: columns, models, parameters, a source's column."""
    trace = audience.trace
    if trace.time is not None:
        where = project.audience_location(audience, "trace", "time")
        if not audience.activity_model:
            raise ProjectError(
                "time is a column of the activity model, and this audience has none",
                where=where,
                fix="remove time and widen, or name an activity_model",
            )
        check_column(project, audience.activity_model, trace.time, where)
    for name in trace.widen:
        if audience.parameter(name) is None:
            raise ProjectError(
                f"audience {audience.name} has no parameter {name!r}",
                where=project.audience_location(audience, "trace", "widen", name),
                fix=did_you_mean(name, [one.name for one in audience.parameters]),
            )
    for index, reason in enumerate(trace.reasons):
        where = project.audience_location(audience, "trace", "reasons", index)
        if reason.model not in project.models:
            fix = did_you_mean(reason.model, project.models)
            raise ProjectError(f"there is no model {reason.model!r}", where=where, fix=fix)
        if reason.column is not None:
            check_column(project, reason.model, reason.column, where)
    if trace.key_source is not None:
        where = project.audience_location(audience, "trace", "key_source")
        _check_source_column(project, trace.key_source, where)


def _check_source_column(project: Project, wanted: KeySource, where: Location) -> None:
    source = project.sources.get((wanted.source, wanted.table))
    if source is None:
        raise ProjectError(
            f"there is no source table {wanted.source}.{wanted.table}",
            where=where,
            fix=did_you_mean(
                f"{wanted.source}.{wanted.table}", [".".join(key) for key in project.sources]
            ),
        )
    columns = [name for name, _ in source.columns]
    if wanted.column not in columns:
        raise ProjectError(
            f"source table {wanted.source}.{wanted.table} declares no column {wanted.column!r}",
            where=where,
            fix=did_you_mean(wanted.column, columns),
        )


def load_project(project_dir: Path) -> Project:
    """Read `project_dir`/models. Raises `ProjectError` for the first thing wrong in it."""
    folder = project_dir / MODELS_FOLDER
    if not os.path.isdir(folder):  # noqa: PTH112  (a Path raises if its name is too long)
        raise ProjectError(
            "there is no models folder here",
            where=Location(folder),
            fix="run in the project's folder, or name it with --project-dir",
        )
    documents = tuple(
        read_yaml(path, path.relative_to(project_dir), ProjectError)
        for path in files(folder, ".yml", ".yaml")
    )
    parts = [(document, validated(document, Properties, ProjectError)) for document in documents]
    models, sources = _models(project_dir, folder, parts), _sources(parts)
    dbt_project = read_dbt_project(project_dir)
    project = Project(
        root=project_dir,
        models=models,
        singular_tests=_singular_tests(project_dir, models),
        sources=sources,
        audiences=_audiences(parts),
        documents=documents,
        macros=_macros(project_dir, macro_folders(dbt_project)),
        package=package_name(dbt_project),
    )
    _check_data_tests(project, parts)
    for audience in project.audiences.values():
        _check_audience(project, audience)
    return project


Parts = Iterable[tuple[YamlDocument, Properties]]


def _models(root: Path, folder: Path, parts: Parts) -> dict[str, Model]:
    described = _described(parts)
    models: dict[str, Model] = {}
    for file in files(folder, ".sql"):
        path, name = file.relative_to(root), file.stem
        if name in models:
            raise ProjectError(
                f"there are two models {name!r}",
                where=Location(path),
                looked_at=f"the other is {models[name].path}",
                fix="rename one file: names are unique in the project",
            )
        if not re.fullmatch(IDENTIFIER, name):
            raise ProjectError(
                f"{name!r} cannot name a model",
                where=Location(path),
                fix="use lower case letters, digits and _, at most 50",
            )
        properties, _ = described.pop(name, (None, None))
        models[name] = Model(name, path, _read_text(file, path), properties)
    for name, (_, where) in described.items():
        raise ProjectError(
            f"there is no file {name}.sql for this model",
            where=where,
            fix=did_you_mean(name, models),
        )
    return models


def _singular_tests(root: Path, models: dict[str, Model]) -> dict[str, Model]:
    """Every .sql file of the tests' folder, by name; a test may not bear a model's name."""
    tests: dict[str, Model] = {}
    for file in files(root / SINGULAR_TESTS_FOLDER, ".sql"):
        path, name = file.relative_to(root), file.stem
        if name in tests or name in models or not re.fullmatch(IDENTIFIER, name):
            raise ProjectError(
                f"{name!r} cannot name a data test",
                where=Location(path),
                fix="use lower case letters, digits and _, at most 50, and no name twice",
            )
        tests[name] = Model(name, path, _read_text(file, path), is_test=True)
    return tests


def _macros(root: Path, folders: list[str]) -> dict[str, Macro]:
    """Every macro and generic data test, by name."""
    found: dict[Path, list[Macro]] = {}
    for folder in (*folders, GENERIC_TESTS_FOLDER):
        for file in files(root / folder, ".sql"):
            path = file.relative_to(root)
            found[path] = list(macros_of(path, _read_text(file, path)))
    return check_distinct([macro for macros in found.values() for macro in macros])


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
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise ProjectError(
            f"cannot be read as UTF-8 text: {problem}",
            where=Location(path),
            fix="save it as UTF-8 text",
        ) from None
    if any(character in text for character in "\0\x01\x02"):
        raise ProjectError("contains control characters", where=Location(path), fix="remove them")
    return text


def _check_data_tests(project: Project, parts: Parts) -> None:
    """Every kind of data test is there, at a place where it can run, with arguments it takes."""
    for document, properties in parts:
        for index, model in enumerate(properties.models):
            at: Loc = ("models", index)
            for number, test in enumerate(model.data_tests):
                below = (*at, "data_tests", number)
                _check_data_test(project, test, document, below, is_of_column=False)
            for place, column in enumerate(model.columns):
                for number, test in enumerate(column.data_tests):
                    below = (*at, "columns", place, "data_tests", number)
                    _check_data_test(project, test, document, below, is_of_column=True)


def _check_data_test(
    project: Project, test: NamedTest, document: YamlDocument, at: Loc, *, is_of_column: bool
) -> None:
    if not isinstance(test.body, CustomTest):
        if not is_of_column:
            raise ProjectError(
                f"{test.kind} is a data test of a column",
                where=document.location(at),
                fix="put it under data_tests of the column",
            )
        return
    macro = project.macros.get(TEST_PREFIX + test.kind)
    if macro is None:
        kinds = [name.removeprefix(TEST_PREFIX) for name in project.macros if _is_test(name)]
        raise ProjectError(
            f"there is no data test {test.kind!r}",
            where=document.location(at),
            fix=did_you_mean(test.kind, [*NamedTest.model_fields, *kinds]),
        )
    itself = ("model", "column_name") if is_of_column else ("model",)
    given = [*itself, *test.body.arguments]
    unknown = next((name for name in given if name not in macro.arguments), None)
    missing = next(
        (name for name in macro.arguments if name not in (*given, *macro.defaults)), None
    )
    what, fix = None, None
    if unknown and not macro.takes_more:
        what = f"takes no argument {unknown!r}"
        fix = did_you_mean(unknown, set(macro.arguments) - set(itself))
    elif missing:
        what, fix = f"lacks its argument {missing!r}", f"add it: arguments: {{{missing}: ...}}"
    if "column_name" in (unknown, missing):
        fix = f"put it under data_tests of {'the model' if is_of_column else 'a column'}"
    if what:
        raise ProjectError(
            f"data test {test.kind} {what}",
            where=document.location((*at, test.kind, "arguments", unknown or "")),
            looked_at=f"it is defined at {macro.location}",
            fix=fix,
        )


def _is_test(macro: str) -> bool:
    return macro.startswith(TEST_PREFIX)


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
        yield Source(
            source_name=definition.name,
            schema=definition.db_schema,
            table=table.name,
            columns=columns,
            location=where,
            personal=table.personal,
            indexes=tuple(_indexes(document, (*at, "tables", index), table)),
        )


def _indexes(
    document: YamlDocument, at: Loc, table: SourceTable
) -> Iterator[tuple[IndexDeclaration, Location]]:
    known = [column.name for column in table.columns]
    for number, declared in enumerate(table.config.meta.indexes):
        where = document.location((*at, "config", "meta", "indexes", number))
        for column in (*declared.columns, *declared.where):
            if column not in known:
                raise ProjectError(
                    f"an index of {table.name} names {column!r}, which is not a column listed here",
                    where=where,
                    fix=did_you_mean(column, known),
                )
        yield declared, where


def _audiences(parts: Parts) -> dict[str, Audience]:
    audiences: dict[str, Audience] = {}
    taken: dict[str, Location] = {}
    files_of: dict[str, str] = {}
    for document, properties in parts:
        for index, audience in enumerate(properties.audiences):
            where = document.location(("audiences", index, "name"))
            for name in (audience.name, *audience.aliases):
                if name in taken:
                    raise ProjectError(
                        f"two audiences have the name or alias {name!r}",
                        where=where,
                        looked_at=f"the other is {taken[name]}",
                    )
                taken[name] = where
            for output in audience.outputs:
                _claim_file(files_of, output.file, audience.name, where)
            audiences[audience.name] = audience
    return audiences


def _claim_file(files_of: dict[str, str], file: str, audience: str, where: Location) -> None:
    """Two audiences may not write files of one name into one folder."""
    owner = files_of.setdefault(file, audience)
    if owner != audience:
        raise ProjectError(
            f"file {file!r} is written by audience {owner!r} too", where=where, fix="rename one"
        )


def _check_audience(project: Project, audience: Audience) -> None:
    """What the parts of an audience must be to each other and to the models."""
    named: list[tuple[str, Loc]] = []
    named += [(audience.activity_model, ("activity_model",))] if audience.activity_model else []
    funnel = enumerate(audience.funnel)
    named += [(step.model, ("funnel", i, "model")) for i, step in funnel if step.model]
    named += [(one.model, ("outputs", i, "model")) for i, one in enumerate(audience.outputs)]
    for name, below in named:
        if name not in project.models:
            raise ProjectError(
                f"there is no model {name!r}",
                where=project.audience_location(audience, *below),
                fix=did_you_mean(name, project.models),
            )
    for key, attribute in (
        ("parameters", "name"),
        ("outputs", "audience_type"),
        ("outputs", "file"),
    ):
        _check_unique(project, audience, key, attribute)
    _check_funnel(project, audience)
    for index, output in enumerate(audience.outputs):
        for key, columns in (("columns", output.columns), ("order_by", dict(output.ordering))):
            where = project.audience_location(audience, "outputs", index, key)
            for column in columns:
                check_column(project, output.model, column, where)
        _check_test_row(project, audience, index, output)
        if audience.key not in output.columns:
            raise ProjectError(
                f"the file of {output.audience_type} has no column for the key {audience.key!r}",
                where=project.audience_location(audience, "outputs", index, "columns"),
                fix="add it to the columns, or set another key: in the audience",
            )
    check_trace(project, audience)
    used = {column for output in audience.outputs for column in output.columns}
    for column in audience.test_row.columns:
        if column not in used:
            raise ProjectError(
                f"test_row names {column!r}, which is not a column of any output",
                where=project.audience_location(audience, "test_row"),
                fix=did_you_mean(column, used),
            )


def _check_funnel(project: Project, audience: Audience) -> None:
    booleans = [one.name for one in audience.parameters if one.type == "boolean"]
    for index, step in enumerate(audience.funnel):
        where = project.audience_location(audience, "funnel", index)
        if step.files and step is not audience.funnel[-1]:
            raise ProjectError(
                "rows of files are counted last",
                where=where,
                fix="make this the last step of the funnel",
            )
        if step.when is not None and step.when not in booleans:
            raise ProjectError(
                f"when: {step.when!r} is not a boolean parameter of the audience",
                where=where,
                fix=did_you_mean(step.when, booleans),
            )
        for column in step.columns if step.model else ():
            check_column(project, str(step.model), column, where)


def _check_unique(project: Project, audience: Audience, key: str, attribute: str) -> None:
    values = [getattr(item, attribute) for item in getattr(audience, key)]
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ProjectError(
                f"two {key} have the {attribute} {value!r}",
                where=project.audience_location(audience, key, index, attribute),
            )


def _check_test_row(project: Project, audience: Audience, index: int, output: Output) -> None:
    """Each column of a file has exactly one value for its test file, and nobody's own there."""
    where = project.audience_location(audience, "outputs", index, "columns")
    row = audience.test_row.of(output)
    covered = row.columns
    properties = project.models[output.model].properties
    personal = properties.personal if properties else frozenset()
    for column in output.columns:
        times = covered.count(column) if output.columns.count(column) == 1 else 0
        if times != 1:
            raise ProjectError(
                f"{output.audience_type} and test_row must name column {column!r} once each",
                where=where,
                fix="write it in test_row, under test_user, run_start or placeholders",
            )
        if column in row.placeholders and column in personal:
            is_own = column in output.placeholders
            at: Loc = ("outputs", index) if is_own else ("test_row",)
            raise ProjectError(
                f"the test file would show a real user's {column!r}, which is personal",
                where=project.audience_location(audience, *at, "placeholders", column),
                fix="give it a value under test_user",
            )
