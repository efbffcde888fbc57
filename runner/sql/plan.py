"""The plan of a run: every statement that it sends, in order, as values.

`run` executes it, `explain` explains it, `compile` prints it as a psql script, and what fills
models for other commands takes some of its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from runner.clock import file_timestamp, milliseconds
from runner.errors import DatabaseError, Location, UsageError
from runner.project.audience import FunnelStep, Output, TestRow
from runner.project.nodes import Source, literal, quoted
from runner.project.parameters import as_text
from runner.sql.compile import CompiledAudience, compile_audience, inlined
from runner.sql.data_tests import (
    DataTest,
    across_files,
    by_model,
    count_all,
    declared_tests,
    tests_of,
)
from runner.sql.source_map import MappedSql, joined

StepKind = Literal["create", "probe", "table", "count", "tests", "file", "test_file", "whole"]

SNAPSHOT = "begin isolation level repeatable read, read only"
READ_ONLY = "set transaction read only"
WITHOUT_STATISTICS = "set enable_nestloop to off"
"""For inlined runs: no temp table is analyzed there, so the planner takes thousands of rows for
one and joins them in nested loops, which took minutes where hash joins take seconds."""
FORMULA_STARTS = "'=', '+', '-', '@', chr(9), chr(13)"
"""From OWASP's page on CSV injection; tab and carriage return as SQL on one line has them."""
NOTHING = MappedSql("select null::text, 0")
"""A count that reads nothing."""
COPY_OPTIONS = "format csv, header true, encoding 'UTF8'"


@dataclass(frozen=True)
class Step:
    """One statement of a run, and what it is for.

    `types` are the audience types that fail if it fails. `model` is the model that it creates,
    fills or counts, `follow_up` what is sent after it. `is_activity`: without a row here there was
    no activity, and the run ends. `is_across_files`: the test that no key is in two files.
    `kinds` are those of a count that are always shown.
    """

    kind: StepKind
    name: str
    sql: MappedSql
    location: Location
    types: frozenset[str]
    model: str | None = None
    follow_up: MappedSql | None = None
    tests: tuple[DataTest, ...] = ()
    output: Output | None = None
    is_funnel: bool = False
    is_activity: bool = False
    is_across_files: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many columns the rows of a count, of tests or of a file have."""
        return len(self.output.columns) if self.output else 2

    @property
    def statements(self) -> tuple[MappedSql, ...]:
        """What is sent for the step, the one whose rows count first."""
        return (self.sql, self.follow_up) if self.follow_up else (self.sql,)

    @property
    def label(self) -> str:
        """The step's kind and name, for people. A file's is without the time of a run."""
        if self.kind in ("tests", "whole"):
            return self.name
        return f"{self.kind.replace('_', ' ')}: {self.output.file if self.output else self.name}"


@dataclass(frozen=True)
class Plan:
    """A run of one audience whose files bear the time `started_at`.

    `prepare` creates empty working tables and probes the files' columns in a transaction of its
    own; `steps` run in one read-only snapshot.
    """

    compiled: CompiledAudience
    started_at: datetime

    @property
    def session(self) -> tuple[str, ...]:
        """What the session sets before anything else."""
        return () if self.compiled.can_build else (WITHOUT_STATISTICS,)

    @property
    def begin_preparation(self) -> str:
        mode = "read write" if self.compiled.can_build else "read only"
        return f"begin isolation level read committed, {mode}"

    @cached_property
    def creates(self) -> tuple[Step, ...]:
        """Empty temp tables: nothing is read, but the server checks every name and type."""
        return tuple(
            Step("create", name, _create(self.compiled, name), *self._of_model(name), model=name)
            for name in self.compiled.tables
        )

    @cached_property
    def probes(self) -> tuple[Step, ...]:
        """The columns, order and permissions of each file, without reading a row."""
        return tuple(
            Step(
                "probe",
                output.file,
                _probe(self.compiled, output),
                *self._of_output(output),
                output=output,
            )
            for output in self.compiled.audience.outputs
        )

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Working tables, counts, data tests and files, in order."""
        return (
            *self._activity(),
            *self._tables(),
            *self._counts(),
            *self._tests(),
            *self._files(),
        )

    @cached_property
    def sent(self) -> tuple[Step, ...]:
        """The steps as they are sent: one by one, or all in one statement without temp tables."""
        return self.steps if self.compiled.can_build else (self.whole(self._types),)

    def whole(self, types: frozenset[str]) -> Step:
        """All steps that these types need, in one statement that computes each model once.

        Its rows are text: the number of the step in `steps_of(types)`, the number of the row, and
        the step's columns, as many as the widest step has. A file's row 0 is its header.
        """
        compiled = replace(self.compiled, is_shared=True)
        steps = Plan(compiled, self.started_at).steps_of(types)
        width = max(step.width for step in steps)
        pieces: list[str | MappedSql] = []
        for number, step in enumerate(steps):
            columns = [f"c{place}" for place in range(step.width)]
            texts = [f"{column}::text" for column in columns] + ["null"] * (width - step.width)
            pieces.append("\nunion all\n" if pieces else "")
            if step.output is not None:
                names = [literal(name) for name in step.output.columns]
                header = ", ".join(names + ["null"] * (width - step.width))
                pieces.append(f"select {number}, 0, {header}\nunion all\n")
            pieces += [
                f"select {number}, row_number() over (), {', '.join(texts)} from (",
                step.sql,
                f"\n) as step_{number} ({', '.join(columns)})",
            ]
        select = joined(compiled.all_ctes(), "\n\n", *pieces, "\norder by 1, 2")
        where = self.compiled.project.audience_location(self.compiled.audience)
        return Step("whole", "all steps in one statement", select, where, types)

    def steps_of(self, types: frozenset[str]) -> tuple[Step, ...]:
        """The steps that these types need; the test across files is one of these files alone."""
        outputs = [one for one in self.compiled.audience.outputs if one.audience_type in types]
        steps = [step for step in self.steps if not step.types.isdisjoint(types)]
        return tuple(
            self.across_files(tuple(outputs)) if step.is_across_files else step
            for step in steps
            if not step.is_across_files or len(outputs) > 1
        )

    def types_at(self, where: Location | str | None) -> frozenset[str]:
        """The types that fail if a statement fails at this place: all, if it is in no model."""
        models = self.compiled.graph.models.values()
        for rendered in models:
            if isinstance(where, Location) and rendered.model.path == where.path:
                return self._of_model(rendered.model.name)[1]
        return self._types

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Every source table that a statement of the run reads."""
        keys = {key for model in self.compiled.graph.models.values() for key in model.sources}
        keys |= {key for test in tests_of(self.compiled) for key in test.sources}
        return tuple(self.compiled.project.sources[key] for key in sorted(keys))

    def way_around(self, problem: DatabaseError) -> str | None:
        """A hint for an error about a source table that the run would not read if a boolean
        parameter had the other value; None if there is no such parameter."""
        compiled = self.compiled
        values = {name: as_text(value) for name, value in compiled.parameters.values.items()}
        for parameter in compiled.audience.parameters:
            if parameter.type != "boolean":
                continue
            changed = {parameter.name: as_text(not compiled.parameters.values[parameter.name])}
            try:
                other = compile_audience(
                    compiled.project,
                    compiled.audience.name,
                    values | changed,
                    compiled.parameters.as_of,
                )
                read = {source.relation for source in Plan(other, self.started_at).sources}
            except UsageError:
                continue
            spared = [source for source in self.sources if source.relation not in read]
            models = [name for name in compiled.graph.models if name not in other.graph.models]
            if spared and self._is_about(problem, spared, models):
                tables = ", ".join(f"{source.schema}.{source.table}" for source in spared)
                return f"{parameter.name}={changed[parameter.name]} runs without {tables}"
        return None

    def _is_about(
        self, problem: DatabaseError, spared: list[Source], models: Iterable[str]
    ) -> bool:
        """Whether an error comes from one of these models, names one of these tables, or comes from
        a foreign server without saying from which model."""
        path = problem.where.path if isinstance(problem.where, Location) else None
        paths = {name: one.model.path for name, one in self.compiled.graph.models.items()}
        is_foreign = (problem.sqlstate or "").startswith(("08", "HV"))
        return (
            path in [paths[name] for name in models]
            or any(source.table in problem.what for source in spared)
            or (is_foreign and path not in paths.values())
        )

    def fills(self, models: Iterable[str]) -> Iterator[Step]:
        """The steps that fill the working tables which these models need, themselves included."""
        needed = {name for model in models for name in self.compiled.graph.upstream(model)}
        yield from (step for step in self._tables() if step.model in needed)

    def across_files(self, outputs: tuple[Output, ...]) -> Step:
        """The test that no key is in more than one of these files."""
        return self._tests_step([across_files(self.compiled, outputs)], is_across_files=True)

    def inlined(self) -> Plan:
        """The same run on a server where no temp table can be created."""
        return Plan(inlined(self.compiled), self.started_at)

    def check(self) -> None:
        """Make every statement. Raises `ProjectError` for what is known without a server."""
        for steps in (self.creates, self.probes, self.steps):
            assert steps is not None

    @property
    def activity_count(self) -> MappedSql:
        """The number of rows of the activity model, of an audience that has one."""
        name = self.compiled.audience.activity_model
        assert name, "only a step that is_activity asks for it"
        return _count(self.compiled, FunnelStep(label=name, model=name))

    def _of_model(self, name: str) -> tuple[Location, frozenset[str]]:
        """Where a model is, and which types fail with it: all of them if it is only counted."""
        compiled = self.compiled
        return compiled.project.models[name].location, compiled.types_needing(name) or self._types

    def _of_output(self, output: Output) -> tuple[Location, frozenset[str]]:
        return self.compiled.output_location(output), frozenset({output.audience_type})

    @property
    def _types(self) -> frozenset[str]:
        return frozenset(output.audience_type for output in self.compiled.audience.outputs)

    def _activity(self) -> Iterator[Step]:
        """A count of the activity model where it is no working table whose rows are counted."""
        name = self.compiled.audience.activity_model
        if name and name not in self.compiled.tables:
            where = self._of_model(name)
            yield Step("count", name, self.activity_count, *where, model=name, is_activity=True)

    def _tables(self) -> Iterator[Step]:
        for name in self.compiled.tables:
            relation = self.compiled.project.models[name].temp_relation
            yield Step(
                "table",
                name,
                joined(f"insert into {relation}\n", self.compiled.select(name)),
                *self._of_model(name),
                model=name,
                # where models read it, the planner is given its statistics
                follow_up=joined(f"analyze {relation}") if self._is_read(name) else None,
                is_activity=name == self.compiled.audience.activity_model,
            )

    def _is_read(self, name: str) -> bool:
        return any(name in rendered.refs for rendered in self.compiled.graph.models.values())

    def _counts(self) -> Iterator[Step]:
        compiled = self.compiled
        for index, counted in enumerate(compiled.audience.funnel):
            if counted.model is None:
                continue  # the rows of files, which a run counts as it writes them
            is_off = counted.when is not None and not compiled.parameters.values[counted.when]
            yield Step(
                "count",
                counted.label,
                NOTHING if is_off else _count(compiled, counted),
                compiled.project.audience_location(compiled.audience, "funnel", index),
                self._of_model(counted.model)[1],
                model=counted.model,
                is_funnel=True,
                kinds=tuple(counted.kinds),
            )

    def _tests(self) -> Iterator[Step]:
        for tests in by_model(test for test in declared_tests(self.compiled) if test.in_runs):
            yield self._tests_step(tests)
        outputs = self.compiled.audience.outputs
        if len(outputs) > 1:
            yield self.across_files(tuple(outputs))

    def _tests_step(self, tests: list[DataTest], *, is_across_files: bool = False) -> Step:
        return Step(
            "tests",
            f"tests of {tests[0].tested}" if tests[0].tested else f"test {tests[0].name}",
            count_all(self.compiled, tests),
            tests[0].location,
            frozenset(name for test in tests for name in test.types),
            tests=tuple(tests),
            is_across_files=is_across_files,
        )

    def _files(self) -> Iterator[Step]:
        """Each type's file, then its test file."""
        timestamp = file_timestamp(self.started_at)
        for output in self.compiled.audience.outputs:
            where = self._of_output(output)
            name = output.file_name(timestamp, is_test=False)
            rows = _file(self.compiled, output)
            yield Step("file", name, rows, *where, output=output)
            name = output.file_name(timestamp, is_test=True)
            row = _test_file(self.compiled, output, self.started_at)
            yield Step("test_file", name, row, *where, output=output)


def copied(step: Step) -> MappedSql:
    """The statement that streams a step's rows as CSV; those of a file with a header."""
    options = COPY_OPTIONS if step.output else COPY_OPTIONS.replace("true", "false")
    return joined("copy (", step.sql, f") to stdout with ({options})")


def _create(compiled: CompiledAudience, name: str) -> MappedSql:
    head = f"create temp table {compiled.project.models[name].temp_relation} as\n"
    return joined(head, compiled.select(name), "\nwith no data")


def _probe(compiled: CompiledAudience, output: Output) -> MappedSql:
    return joined("select * from (\n", _file(compiled, output), "\n) as probe\nlimit 0")


def _count(compiled: CompiledAudience, step: FunnelStep) -> MappedSql:
    """One row of a label (NULL without `by`) and a count for each."""
    assert step.model, "the rows of files are counted as they are written"
    kind = f"{quoted(step.by)}::text" if step.by else "null::text"
    conditions = [quoted(column) for column in step.where]
    for column, values in step.without.items():
        listed = ", ".join(literal(str(value)) for value in values)
        conditions.append(f"({quoted(column)}::text in ({listed})) is not true")
    return joined(
        f"select {kind}, count(*)\nfrom (\n",
        compiled.rows_of(step.model),
        "\n) as counted",
        f"\nwhere {' and '.join(conditions)}" if conditions else "",
        "\ngroup by 1\norder by 1" if step.by else "",
    )


def _file(compiled: CompiledAudience, output: Output) -> MappedSql:
    """A file's rows in order. Text is PostgreSQL's own; NULL and '' are both NULL."""
    columns = ", ".join(
        f"{_escaped(output, column, _value(column))} as {quoted(column)}"
        for column in output.columns
    )
    return joined(
        f"select {columns} from (",
        compiled.rows_of(output.model),
        f") as exported order by {_ordering(output, 'exported')}",
    )


def _test_file(compiled: CompiledAudience, output: Output, started_at: datetime) -> MappedSql:
    """The test file's one row: test user, run's start, shoe and count of the first row."""
    row = compiled.audience.test_row.of(output)
    columns = ", ".join(
        f"{_escaped(output, column, _test_value(row, column, started_at))} as {quoted(column)}"
        for column in output.columns
    )
    return joined(
        f"select {columns} from (select) as one_row left join (select true as is_found, "
        "exported.* from (",
        compiled.rows_of(output.model),
        f") as exported order by {_ordering(output, 'exported')} limit 1) as first_row on true",
    )


def _test_value(row: TestRow, column: str, started_at: datetime) -> str:
    if column in row.test_user:
        return _text_or_null(row.test_user[column])
    if column in row.run_start:
        return _text_or_null(milliseconds(started_at))
    first = _value(column, "first_row")
    stand_in = _text_or_null(row.placeholders[column])
    return f"case when first_row.is_found then {first} else {stand_in} end"


def _value(column: str, table: str = "exported") -> str:
    return f"nullif({table}.{quoted(column)}::text, '')"


def _escaped(output: Output, column: str, value: str) -> str:
    """A value as it goes into the file."""
    if column not in output.escape_formulas:
        return value
    quote = literal("'")
    return (
        f"case when left({value}, 1) in ({FORMULA_STARTS}) then {quote} || {value} else {value} end"
    )


def _ordering(output: Output, table: str) -> str:
    return ", ".join(
        f"{table}.{quoted(column)} {direction}" for column, direction in output.ordering
    )


def _text_or_null(text: str) -> str:
    return literal(text) if text else "null"
