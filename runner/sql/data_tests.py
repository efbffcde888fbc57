"""Which data tests an audience has, and the select of the rows that fail each of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from runner.errors import Location, ProjectError, UsageError, did_you_mean
from runner.project.audience import Output
from runner.project.macros import refs_of
from runner.project.nodes import TEST_PREFIX, Model, literal, quoted
from runner.project.properties import (
    AcceptedValuesTest,
    Column,
    CustomTest,
    NamedTest,
    RelationshipsTest,
    TestConfig,
)
from runner.project.yaml import Loc
from runner.sql.check import check_condition, check_select
from runner.sql.compile import CompiledAudience, inlined
from runner.sql.render import RenderedModel, render, render_test
from runner.sql.source_map import MappedSql, joined, written_at

Failing = Callable[[MappedSql], MappedSql]
"""The select of the failing rows, given the select of the rows to test."""


def missing(column: str, where: Location, rows: MappedSql) -> MappedSql:
    test = written_at(where, f"where {quoted(column)} is null")
    return joined("select * from (", rows, ") as tested ", test)


def count_missing(column: str, where: Location) -> MappedSql:
    return written_at(where, f"count(*) filter (where {quoted(column)} is null)")


def repeated(column: str, where: Location, rows: MappedSql) -> MappedSql:
    name = quoted(column)
    return joined(
        written_at(where, f"select {name} as unique_field, count(*) as n_records"),
        " from (",
        rows,
        f") as tested where {name} is not null group by {name} having count(*) > 1",
    )


def not_accepted(
    column: Column, body: AcceptedValuesTest, where: Location, rows: MappedSql
) -> MappedSql:
    name = quoted(column.identifier)
    return joined(
        written_at(where, f"select {name} as value_field, count(*) as n_records"),
        " from (",
        rows,
        ") as tested ",
        written_at(where, f"where {_is_not_accepted(name, body)} group by {name}"),
    )


def count_not_accepted(column: Column, body: AcceptedValuesTest, where: Location) -> MappedSql:
    name = quoted(column.identifier)
    return written_at(
        where, f"count(distinct {name}) filter (where {_is_not_accepted(name, body)})"
    )


def _is_not_accepted(name: str, body: AcceptedValuesTest) -> str:
    values = [
        literal(str(value)) if body.arguments.quote else str(value).lower()
        for value in body.arguments.values
    ]
    return f"{name} not in ({', '.join(values)})"


def orphans(
    column: Column, body: RelationshipsTest, parents: MappedSql, where: Location, rows: MappedSql
) -> MappedSql:
    name, parent_field = quoted(column.identifier), quoted(body.arguments.field.lower())
    return joined(
        written_at(where, f"select tested.{name} as from_field"),
        " from (",
        rows,
        ") as tested left join (",
        parents,
        ") as parent ",
        written_at(where, f"on tested.{name} = parent.{parent_field} "),
        written_at(where, f"where tested.{name} is not null and parent.{parent_field} is null"),
    )


def custom(test: MappedSql, rows: MappedSql) -> MappedSql:
    """A generic test of the project, which reads `TESTED`."""
    return joined(f"with {TESTED} as (\n", rows, "\n)\nselect * from (\n", test, "\n) as failing")


TESTED = "__tested__"
"""What the argument `model` of a generic test is."""


def limited(failing: Failing, most: int) -> Failing:
    return lambda rows: joined("select * from (", failing(rows), f"\n) as failing limit {most}")


def narrowed(failing: Failing, condition: MappedSql) -> Failing:
    return lambda rows: failing(
        joined("select * from (", rows, ") as given where (", condition, "\n)")
    )


def in_more_than_one(compiled: CompiledAudience, outputs: Iterable[Output]) -> MappedSql:
    """The keys that are in the rows of more than one file, with two of the types.

    Types are numbered: to compare numbers takes less time than to compare names.
    """
    key = quoted(compiled.audience.key)
    pieces: list[str | MappedSql] = []
    types = [output.audience_type for output in outputs]
    for number, output in enumerate(outputs, 1):
        pieces.append(" union all " if pieces else "")
        pieces += [f"select {key}::text as key, {number} as type from ("]
        pieces += [compiled.rows_of(output.model), ") as one_file"]
    names = f"(array[{', '.join(map(literal, types))}])"
    return joined(
        f"select key, {names}[min(type)] as one_type, {names}[max(type)] as another_type from (",
        *pieces,
        ") as all_files where key is not null group by key having min(type) < max(type)",
    )


@dataclass(frozen=True)
class DataTest:
    """One test. `reads` are its models, the tested one first; `types` fail with it.

    `in_runs` is false for tests of models that a run inlines into others: only `audiences test`
    runs those. `aggregate` counts the failures among the tested rows, where an aggregate can:
    the model is then read once for all such tests of it.
    """

    name: str
    reads: tuple[str, ...]
    column: str | None
    config: TestConfig
    location: Location
    types: frozenset[str]
    in_runs: bool
    failing: Failing = field(repr=False)
    aggregate: MappedSql | None = field(default=None, repr=False)
    sources: tuple[tuple[str, str], ...] = ()
    is_query: bool = False

    @property
    def tested(self) -> str | None:
        """The model whose rows it looks at; None for a query of its own over several."""
        return None if self.is_query else self.reads[0]


def tests_of(compiled: CompiledAudience) -> tuple[DataTest, ...]:
    """All tests of an audience, in the order of its models; last, the one across its files.

    Raises `ProjectError`, at the test's own line, for whatever can be known without a server.
    """
    outputs = compiled.audience.outputs
    across = (across_files(compiled, outputs),) if len(outputs) > 1 else ()
    return _distinct([*declared_tests(compiled), *across])


def declared_tests(compiled: CompiledAudience) -> tuple[DataTest, ...]:
    """The tests of models, of singular SQL files, and of each file's key. Raises as `tests_of`."""
    found = [*_declared(compiled), *_singular(compiled)]
    return _distinct([*found, *_undeclared(compiled, found)])


def _distinct(found: list[DataTest]) -> tuple[DataTest, ...]:
    names: dict[str, Location] = {}
    for test in found:
        if test.name in names:
            raise ProjectError(
                f"two data tests are named {test.name}",
                where=test.location,
                looked_at=f"the other is {names[test.name]}",
                fix="give one of them another name:",
            )
        names[test.name] = test.location
    return tuple(found)


def chosen(tests: Iterable[DataTest], names: Iterable[str]) -> tuple[DataTest, ...]:
    """The tests of these names, or of the models of these names; all of them if none is given.

    Raises `UsageError` for a name that neither a test nor a tested model has.
    """
    found, wanted = tuple(tests), list(names)
    known = {test.name for test in found} | {name for test in found for name in test.reads}
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"there is no data test and no tested model {name!r}",
                fix=did_you_mean(name, known),
            )
    return tuple(test for test in found if not wanted or {test.name, *test.reads} & set(wanted))


def compile_test(compiled: CompiledAudience, name: str) -> MappedSql:
    """The rows that fail one test as a stand-alone select. Raises `UsageError` for a wrong name."""
    stand_alone = inlined(compiled)
    tests = {test.name: test for test in tests_of(stand_alone)}
    if name not in tests:
        raise UsageError(f"there is no data test {name!r}", fix=did_you_mean(name, tests))
    return failing_rows(stand_alone, tests[name])


def failing_rows(compiled: CompiledAudience, test: DataTest) -> MappedSql:
    """A select of the rows that fail a test, on its own."""
    return test.failing(compiled.rows_of(test.tested) if test.tested else MappedSql(""))


def across_files(compiled: CompiledAudience, outputs: Sequence[Output]) -> DataTest:
    """No key is in more than one of these files. If one is, all of them fail."""
    where = compiled.project.audience_location(compiled.audience, "outputs")
    rows = in_more_than_one(compiled, outputs)
    return DataTest(
        name=f"unique_{compiled.audience.key.lower()}_across_files",
        reads=tuple(dict.fromkeys(output.model for output in outputs)),
        column=None,
        config=TestConfig(),
        location=where,
        types=frozenset(output.audience_type for output in outputs),
        in_runs=True,
        failing=partial(_as_it_is, rows),
        is_query=True,
    )


def by_model(tests: Iterable[DataTest]) -> Iterator[list[DataTest]]:
    """Tests that can share a statement: those of one model's rows; a singular test is alone."""
    shared: dict[str, list[DataTest]] = {}
    for test in tests:
        shared.setdefault(test.tested or test.name, []).append(test)
    yield from shared.values()


def count_all(compiled: CompiledAudience, tests: Sequence[DataTest]) -> MappedSql:
    """One statement that counts the failures of each of them: a row for each, in any order, with
    its place among them and the number of failures."""
    model = tests[0].tested
    shared, rows = MappedSql(""), MappedSql("")
    if model is not None and model in compiled.tables:
        rows = compiled.rows_of(model)
    elif model is not None:
        # computed once, however many tests there are of it
        shared = joined("with tested_rows as materialized (", compiled.rows_of(model), ")\n")
        rows = MappedSql("select * from tested_rows")
    at_once = {n: test.aggregate for n, test in enumerate(tests) if test.aggregate is not None}
    selects = [
        joined(f"select {number} as test, count(*) from (", test.failing(rows), "\n) as failing")
        for number, test in enumerate(tests)
        if number not in at_once
    ]
    if at_once:
        selects.insert(0, _counted_at_once(at_once, rows))
    between = [piece for select in selects for piece in ("\nunion all\n", select)]
    return joined(shared, *between[1:])


def _counted_at_once(aggregates: Mapping[int, MappedSql], rows: MappedSql) -> MappedSql:
    counts = [
        piece
        for number, aggregate in aggregates.items()
        for piece in (", ", aggregate, f" as failures_{number}")
    ]
    listed = ", ".join(f"({number}, failures_{number})" for number in aggregates)
    return joined(
        "select given.test, given.failures from (select ",
        *counts[1:],
        " from (",
        rows,
        f") as tested) as counted cross join lateral (values {listed}) as given (test, failures)",
    )


# Declared in YAML


def _declared(compiled: CompiledAudience) -> Iterator[DataTest]:
    for name in compiled.graph.models:
        properties = compiled.project.models[name].properties
        if properties is None:
            continue
        places: list[tuple[Column | None, Loc, list[NamedTest]]] = [
            (column, ("columns", index), column.data_tests)
            for index, column in enumerate(properties.columns)
        ]
        for column, at, tests in [*places, (None, (), properties.data_tests)]:
            for number, test in enumerate(tests):
                where = compiled.project.properties_location(name, *at, "data_tests", number)
                found = _generic(compiled, name, column, test, where)
                if found.config.enabled:
                    yield found


def _generic(
    compiled: CompiledAudience, model: str, column: Column | None, test: NamedTest, where: Location
) -> DataTest:
    body = test.body
    config = body.config
    aggregate = None
    rendered: RenderedModel | None = None
    if column is None or isinstance(body, CustomTest):
        rendered = _custom_test(compiled, column, test, where)
        config = rendered.test_config.overridden_by(config)
        query = compiled.query(rendered.model, rendered.sql, rendered.refs)
        failing: Failing = partial(custom, query)
    elif isinstance(body, RelationshipsTest):
        rendered = _parent(compiled, body.arguments.to, where)
        failing = partial(orphans, column, body, _parent_rows(compiled, rendered), where)
    elif isinstance(body, AcceptedValuesTest):
        failing = partial(not_accepted, column, body, where)
        aggregate = count_not_accepted(column, body, where)
    elif test.kind == "unique":
        failing = partial(repeated, column.identifier, where)
    else:
        failing = partial(missing, column.identifier, where)
        aggregate = count_missing(column.identifier, where)
    if config.where is not None:
        aggregate = None
        failing = narrowed(failing, _condition(compiled, config.where, where))
    if config.limit is not None:
        aggregate = None
        failing = limited(failing, config.limit)
    return DataTest(
        name=body.name or _generated_name(model, column, test),
        reads=(model, *(rendered.refs if rendered else ())),
        column=column.identifier if column else None,
        config=config,
        location=where,
        types=_types_of(compiled, [model]),
        in_runs=model in compiled.graph.tables,
        failing=failing,
        aggregate=aggregate,
        sources=tuple(rendered.sources) if rendered else (),
    )


def _custom_test(
    compiled: CompiledAudience, column: Column | None, test: NamedTest, where: Location
) -> RenderedModel:
    """The select of a generic test of the project, which reads its rows from `TESTED`."""
    assert isinstance(test.body, CustomTest)
    given: dict[str, Any] = {**test.body.arguments, "model": TESTED}
    if column is not None:
        given["column_name"] = quoted(column.name) if column.quote else column.name
    macro = compiled.project.macros[TEST_PREFIX + test.kind]
    rendered = render_test(
        compiled.project, macro, given, where, compiled.parameters, compiled.relation
    )
    _check_reads(compiled, rendered.refs, where)
    check_select(rendered)
    return rendered


LONGEST_NAME = 120


def _generated_name(model: str, column: Column | None, test: NamedTest) -> str:
    """The kind, model and column; of a generic test of the project its arguments too, so that it
    may be used more than once."""
    parts = [test.kind, model, *([column.name.lower()] if column else [])]
    name = "_".join(parts)
    if isinstance(test.body, CustomTest) and test.body.arguments:
        texts = [str(value) for value in _values_in(test.body.arguments)]
        cleaned = "__".join(re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_") for text in texts)
        name = f"{name}_{cleaned}"
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        name = f"{name[: LONGEST_NAME - len(digest) - 1]}_{digest}"
    return name


def _values_in(arguments: dict[str, Any]) -> Iterator[Any]:
    for name in sorted(arguments):
        value = arguments[name]
        yield from value if isinstance(value, list) else [value]


def _parent(compiled: CompiledAudience, to: str, where: Location) -> RenderedModel:
    """What `to: ref('model')` or `source('name', 'table')` names."""
    rendered = _rendered(compiled, "{{ " + to + " }}", where)
    if not re.fullmatch(r"\s*(ref|source)\s*\([^()]*\)\s*", to):
        raise ProjectError(
            f"relationships: to: {to!r} is not a table",
            where=where,
            fix="write to: ref('model') or to: source('name', 'table')",
        )
    _check_reads(compiled, rendered.refs, where)
    return rendered


def _parent_rows(compiled: CompiledAudience, parent: RenderedModel) -> MappedSql:
    if parent.refs:
        return compiled.rows_of(parent.refs[0])
    return joined("select * from ", parent.sql)


def _condition(compiled: CompiledAudience, where: str, location: Location) -> MappedSql:
    rendered = _rendered(compiled, where, location)
    check_condition(rendered)
    return rendered.sql


def _rendered(compiled: CompiledAudience, text: str, where: Location) -> RenderedModel:
    """Jinja in a YAML file: all of it is placed at its key's line."""
    model = Model("data_test", where.path, text)
    try:
        rendered = render(compiled.project, model, compiled.parameters, compiled.relation)
    except ProjectError as problem:
        problem.where = where
        raise
    return replace(rendered, sql=replace(rendered.sql, marks=written_at(where, "").marks))


# Singular tests


def _singular(compiled: CompiledAudience) -> Iterator[DataTest]:
    for name, model in compiled.project.singular_tests.items():
        read = refs_of(model, compiled.project.macros)
        if not read:
            raise ProjectError(
                "this data test reads no model",
                where=model.location,
                fix="read a model with ref; the files that need it are published only if the test "
                "passes",
            )
        if not set(read) & set(compiled.graph.models):
            continue  # another audience's
        rendered = render(compiled.project, model, compiled.parameters, compiled.relation)
        if not rendered.refs:
            continue  # with these parameters it tests nothing
        _check_reads(compiled, rendered.refs, model.location)
        check_select(rendered)
        query = compiled.query(model, rendered.sql, rendered.refs)
        config = rendered.test_config
        if config.where is not None:
            raise ProjectError(
                "where is for data tests that YAML declares",
                where=model.location,
                fix="put the condition into the select",
            )
        if not config.enabled:
            continue
        failing: Failing = partial(_as_it_is, query)
        yield DataTest(
            name=name,
            reads=rendered.refs,
            column=None,
            config=config,
            location=Location(model.path, 1, text=model.source_text),
            types=_types_of(compiled, rendered.refs),
            in_runs=True,
            failing=limited(failing, config.limit) if config.limit else failing,
            sources=tuple(rendered.sources),
            is_query=True,
        )


def _as_it_is(query: MappedSql, _rows: MappedSql) -> MappedSql:
    """A query of its own, over no rows that it is given."""
    return query


def _check_reads(compiled: CompiledAudience, refs: Iterable[str], where: Location) -> None:
    for ref in refs:
        if ref not in compiled.graph.models:
            known = compiled.graph.models if ref not in compiled.project.models else ()
            raise ProjectError(
                f"this data test reads {ref!r}, which audience {compiled.audience.name} does not "
                "read",
                where=where,
                fix=did_you_mean(ref, known) if known else "test models of one audience at a time",
            )


def _types_of(compiled: CompiledAudience, models: Iterable[str]) -> frozenset[str]:
    """The files that fail with a test of these models: all that need one of them, but if a file's
    own model is among them, only what needs such a one."""
    finals = {output.model for output in compiled.audience.outputs}
    read = set(models) & finals or set(models)
    needing = frozenset(one for name in read for one in compiled.types_needing(name))
    return needing or frozenset(one.audience_type for one in compiled.audience.outputs)


# Tests that need no declaration


def _undeclared(compiled: CompiledAudience, declared: list[DataTest]) -> Iterator[DataTest]:
    key = compiled.audience.key
    strict = {test.name for test in declared if test.config.is_strict}
    for output in compiled.audience.outputs:
        where = compiled.output_location(output)
        for kind, failing, aggregate in (
            ("unique", repeated, None),
            ("not_null", missing, count_missing(key, where)),
        ):
            name = f"{kind}_{output.model}_{key.lower()}"
            if name not in strict:
                yield DataTest(
                    name=name if name not in {one.name for one in declared} else f"{name}_in_file",
                    reads=(output.model,),
                    column=key,
                    config=TestConfig(),
                    location=where,
                    types=frozenset({output.audience_type}),
                    in_runs=True,
                    failing=partial(failing, key, where),
                    aggregate=aggregate,
                )
