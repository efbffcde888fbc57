"""What an audience's YAML may contain: parameters, rules, window, outputs, funnel, trace and size
guards. These frozen classes are both the file format and the values that the runner uses."""

from __future__ import annotations

import math
import re
from string import Formatter
from typing import Annotated, Literal

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from runner.errors import did_you_mean
from runner.project.yaml import StrictModel


class SizeGuard(StrictModel):
    """How many rows a production file may have; outside, it is not published.

    `minimum_rows` and `maximum_rows` are absolute. `change_percent` is the most by which the rows
    may differ from the median of the newest `runs` published runs with the same parameters; a
    difference of up to `slack_rows` is always allowed, so that small files may vary.
    """

    minimum_rows: int = Field(default=0, ge=0)
    maximum_rows: int | None = Field(default=None, ge=0)
    change_percent: int | float | None = Field(default=50, gt=0)
    runs: int = Field(default=10, ge=1, le=1000)
    slack_rows: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _is_a_range(self) -> SizeGuard:
        if self.maximum_rows is not None and self.maximum_rows < self.minimum_rows:
            raise ValueError("maximum_rows is less than minimum_rows")
        return self


IDENTIFIER = r"^[a-z_][a-z0-9_]{0,49}$"
"""Model names: safe unquoted, and short enough for PostgreSQL's 63 bytes with our prefix."""


NUMERIC = ("hours", "days", "integer", "number")
"""Types of parameters that have bounds."""


class Parameter(StrictModel):
    """A value that models read with `var()`: type, default, bounds (all in its own unit).

    `hours`, `days` (of 24 hours) and `number` take fractions. `text` needs `choices` or a `pattern`
    that the whole text must match. A parameter without `default` must be given to every run; it has
    an `example`, which is shown, and used where nothing is run.
    """

    name: str = Field(pattern=IDENTIFIER)
    type: Literal["hours", "days", "integer", "number", "boolean", "text", "uuid"]
    default: int | float | bool | str | None = None
    example: int | float | bool | str | None = None
    description: str = Field(min_length=1)
    unit: str | None = None
    above: int | float | None = None
    below: int | float | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: list[int | str] | None = Field(default=None, min_length=1)
    pattern: str | None = None

    @field_validator("above", "below", "minimum", "maximum")
    @classmethod
    def _is_finite(cls, bound: float | None) -> float | None:
        if bound is not None and not math.isfinite(bound):
            raise ValueError("a bound must be a finite number")
        return bound

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as problem:
            raise ValueError(f"{pattern!r} is not a regular expression: {problem}") from None
        return pattern

    @model_validator(mode="after")
    def _has_what_its_type_has(self) -> Parameter:
        if self.type == "text" and self.choices is None and self.pattern is None:
            raise ValueError(f"text parameter {self.name!r} needs choices or a pattern")
        kinds = {"text": str, "integer": int}
        is_chosen = self.type in kinds
        if self.choices and not (
            is_chosen and all(type(one) is kinds[self.type] for one in self.choices)
        ):
            raise ValueError(
                "choices are texts of a text parameter, or whole numbers of an integer one"
            )
        if self.pattern is not None and self.type != "text":
            raise ValueError(f"a parameter of type {self.type} has no pattern")
        bounds = (self.above, self.below, self.minimum, self.maximum)
        if self.type not in NUMERIC and any(bound is not None for bound in bounds):
            raise ValueError(f"a parameter of type {self.type} has no bounds")
        return self

    @model_validator(mode="after")
    def _has_a_default_or_an_example(self) -> Parameter:
        if (self.default is None) is (self.example is None):
            raise ValueError(
                f"parameter {self.name!r} needs a default, or an example if every run must be "
                "given a value; not both"
            )
        return self

    @property
    def is_required(self) -> bool:
        """Whether every run must be given a value."""
        return self.default is None

    @property
    def bounds(self) -> str:
        """The bounds in words, '' if there are none."""
        limits = [("> ", self.above), (">= ", self.minimum), ("< ", self.below)]
        words = [f"{sign}{limit}" for sign, limit in limits if limit is not None]
        words += [f"<= {self.maximum}"] if self.maximum is not None else []
        words += [f"one of {', '.join(map(str, self.choices))}"] if self.choices else []
        words += [f"matching {self.pattern}"] if self.pattern else []
        return " and ".join(words)


class Rule(StrictModel):
    """A condition on parameters together: a Jinja expression, and the message if it is false."""

    must: str
    message: str


class WindowDefinition(StrictModel):
    """The window's two instants in hours before the as-of time: numbers, or Jinja expressions over
    the parameters, such as `max_age_days * 24`."""

    start_hours_ago: int | float | str
    end_hours_ago: int | float | str


class FunnelStep(StrictModel):
    """A count for the result: rows of a model, per value of `by`, where boolean columns hold.

    `without` leaves out rows by the values of columns: `{level: [1, 2]}` is what levels 1 and 2 of
    a waterfall leave. `kinds` are values of `by` that are always shown, with 0 where no row has
    them. `when` is a boolean parameter: if it is false, the count is 0 and reads nothing.
    `files: true`, for the last step, counts the rows of all production files by audience type.
    """

    label: str
    model: str | None = None
    files: Literal[True] | None = None
    by: str | None = None
    where: list[str] = []
    without: dict[str, list[str | int]] = {}
    kinds: list[str] = []
    when: str | None = None

    @model_validator(mode="after")
    def _counts_one_thing(self) -> FunnelStep:
        if (self.model is None) is (self.files is None):
            raise ValueError("a step counts the rows of a model, or files: true; not both")
        if self.files and (self.by or self.where or self.without or self.kinds or self.when):
            raise ValueError("files: true counts all rows by audience type, and takes a label only")
        if self.kinds and self.by is None:
            raise ValueError("kinds are values of the column by, so name it")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of its model that it looks at."""
        return [*([self.by] if self.by else []), *self.where, *self.without]


def _on_one_line(values: dict[str, str]) -> dict[str, str]:
    for column, value in values.items():
        if not value.isprintable():
            raise ValueError(f"{column}: a value must be printable and on one line")
    return values


RowValues = Annotated[dict[str, str], AfterValidator(_on_one_line)]
"""Values of the test row, by column."""


class Output(StrictModel):
    """One audience type: its final model, its file, its columns in order, its row order.

    A text in a column of `escape_formulas` that a spreadsheet would take for a formula gets a
    single quote in front, as OWASP advises against CSV injection. `size_guard: false` lets any
    number of rows through. `placeholders` are those of its test row that other files do not have,
    or have otherwise.
    """

    audience_type: str = Field(pattern=IDENTIFIER)
    model: str
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")
    columns: list[str] = Field(min_length=1)
    order_by: list[str] = Field(min_length=1)
    escape_formulas: list[str] = []
    size_guard: SizeGuard | Literal[False] = SizeGuard()
    placeholders: RowValues = {}

    @field_validator("order_by")
    @classmethod
    def _are_columns(cls, order_by: list[str]) -> list[str]:
        for item in order_by:
            words = item.split()
            if not 1 <= len(words) <= 2 or words[1:] not in ([], ["asc"], ["desc"]):
                raise ValueError(f"{item!r} is not a column name, alone or followed by asc or desc")
        return order_by

    @model_validator(mode="after")
    def _names_its_own_columns(self) -> Output:
        for key in ("escape_formulas", "placeholders"):
            for column in getattr(self, key):
                if column not in self.columns:
                    raise ValueError(
                        f"{key} names {column!r}, which is not one of the columns; "
                        f"{did_you_mean(column, self.columns)}"
                    )
        return self

    def file_name(self, timestamp: str, *, is_test: bool) -> str:
        """The name of its production or test file; nobody else makes one."""
        return f"{self.labels[is_test]}_{timestamp}.csv"

    @property
    def labels(self) -> tuple[str, str]:
        """The names of its files without the time."""
        return self.file, f"{self.file}_TEST"

    @property
    def ordering(self) -> list[tuple[str, str]]:
        """Pairs of column and direction."""
        split = [item.split() for item in self.order_by]
        return [(words[0], words[1] if len(words) == 2 else "asc") for words in split]


class TestRow(StrictModel):
    """The one row of every test file, column by column.

    `placeholders` are the columns whose value is that of the first production row, and what stands
    in for it where the production file has no row.
    """

    test_user: RowValues
    run_start: list[str] = []
    placeholders: RowValues = {}

    @property
    def columns(self) -> list[str]:
        return [*self.test_user, *self.run_start, *self.placeholders]

    def of(self, output: Output) -> TestRow:
        """The row of one file, its own placeholders among them."""
        return self.model_copy(update={"placeholders": self.placeholders | output.placeholders})


class KeySource(StrictModel):
    """The source column that knows every value of the audience's key, dead ones included."""

    source: str
    table: str
    column: str


class TraceReason(StrictModel):
    """What `trace` says of a user or row that a model leaves out, or, with `column`, of a row in
    which that boolean is not true: Jinja over parameters, window and, with `column`, `row`."""

    model: str
    column: str | None = None
    says: str = Field(min_length=1)

    @field_validator("says")
    @classmethod
    def _is_jinja(cls, says: str) -> str:
        try:
            SandboxedEnvironment().parse(says)
        except TemplateSyntaxError as problem:
            raise ValueError(f"{says!r} is not valid Jinja: {problem.message}") from None
        return says


class TraceDefinition(StrictModel):
    """What `trace` needs to know besides the models.

    `widen` gives parameters under which the activity model shows what is outside the window,
    `time` is its column that the window compares.
    """

    key_source: KeySource | None = None
    time: str | None = None
    widen: dict[str, int | float | bool | str] = {}
    reasons: list[TraceReason] = []

    @model_validator(mode="after")
    def _is_whole(self) -> TraceDefinition:
        if bool(self.widen) != bool(self.time):
            raise ValueError("widen and time are needed together: give both or neither")
        return self


class Legacy(StrictModel):
    """The old engine's command: words, without a shell, with {placeholders} for parameters,
    {as_of} and {output_dir}. `{{` and `}}` are braces."""

    command: list[str] = Field(min_length=1)
    timeout: str = Field(default="30min", pattern=r"^[1-9]\d{0,5}(s|min|h)$")

    @field_validator("command")
    @classmethod
    def _can_be_filled(cls, command: list[str]) -> list[str]:
        for word in command:
            if not word.isprintable() or not all(map(_is_plain, Formatter().parse(word))):
                raise ValueError(
                    f"{word!r} is not printable, or its {{placeholders}} are not plain names"
                )
        if not command[0] or _placeholders(command[:1]):
            raise ValueError("the first word must be the program, without placeholders")
        if "output_dir" not in _placeholders(command):
            raise ValueError(
                "the command must contain {output_dir}, so that it knows where to write"
            )
        return command

    @property
    def placeholders(self) -> set[str]:
        return _placeholders(self.command)

    @property
    def timeout_seconds(self) -> int:
        number = self.timeout.rstrip("sminh")
        return int(number) * {"s": 1, "min": 60, "h": 3600}[self.timeout.removeprefix(number)]


def _is_plain(part: tuple[str, str | None, str | None, str | None]) -> bool:
    _, name, format_spec, conversion = part
    return name is None or bool(re.fullmatch(IDENTIFIER, name) and not (format_spec or conversion))


def _placeholders(command: list[str]) -> set[str]:
    return {name for word in command for _, name, _, _ in Formatter().parse(word) if name}


class Audience(StrictModel):
    """What one run makes: parameters, outputs, test row, funnel. A new one needs no Python.

    `key` is the column that says whose a row is, in every model that has it; in files it names a
    user once in each and in one file only. Without a row in `activity_model` there is nothing to
    send (`no_activity`); `false` has files made in every run.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    description: str = Field(min_length=1)
    aliases: list[str] = []
    parameters: list[Parameter] = []
    rules: list[Rule] = []
    window: WindowDefinition | None = None
    key: str = Field(default="user_id", min_length=1)
    activity_model: str | Literal[False]
    trace: TraceDefinition = TraceDefinition()
    funnel: list[FunnelStep] = []
    line_ending: Literal["lf", "crlf"] = "lf"
    outputs: list[Output] = Field(min_length=1)
    test_row: TestRow
    legacy: Legacy | None = None

    @field_validator("legacy")
    @classmethod
    def _names_parameters(cls, legacy: Legacy | None, info: ValidationInfo) -> Legacy | None:
        known = {one.name for one in info.data.get("parameters", [])} | {"as_of", "output_dir"}
        for name in sorted(legacy.placeholders - known if legacy else ()):
            raise ValueError(f"{{{name}}} is not a parameter; {did_you_mean(name, known)}")
        return legacy

    def parameter(self, name: str) -> Parameter | None:
        return next((one for one in self.parameters if one.name == name), None)
