"""What the YAML files below models/ may contain: dbt's properties for sources and models, and our
audiences beside them. These frozen classes are both the file format and the values the runner uses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from runner.project.audience import IDENTIFIER, Audience
from runner.project.yaml import StrictModel

Materialized = Literal["table", "view", "ephemeral"]


class NodeConfig(StrictModel):
    """`config:` of a model: `table` is built once as a temp table; `view` and `ephemeral` are
    inlined (to dbt only a view is there to be described, which its unit tests ask for)."""

    materialized: Materialized | None = None
    tags: list[str] = []
    meta: dict[str, Any] = {}


_COMPARISON = re.compile(r"\s*(=|==|!=|<>|<|<=|>|>=)\s*(\d+)\s*")
_BETWEEN = re.compile(r"\s*between\s+(\d+)\s+and\s+(\d+)\s*", re.IGNORECASE)


def _lower(given: Any) -> Any:
    return given.lower() if isinstance(given, str) else given


class TestConfig(StrictModel):
    """`config:` of a data test, in dbt's words. Conditions compare the number of failures, of which
    `limit` counts so many at most."""

    severity: Annotated[
        Literal["warn", "error"],
        BeforeValidator(_lower),
        WithJsonSchema({"type": "string", "pattern": "^([Ww][Aa][Rr][Nn]|[Ee][Rr][Rr][Oo][Rr])$"}),
    ] = "error"
    where: str | None = None
    limit: int | None = Field(default=None, ge=1)
    error_if: str = "!= 0"
    warn_if: str = "!= 0"
    enabled: bool = True
    tags: list[str] = []
    meta: dict[str, Any] = {}

    @field_validator("error_if", "warn_if")
    @classmethod
    def _is_a_condition(cls, condition: str) -> str:
        if not (_COMPARISON.fullmatch(condition) or _BETWEEN.fullmatch(condition)):
            raise ValueError(
                f"{condition!r} is not a condition such as '!= 0', '> 10' or 'between 1 and 5'"
            )
        return condition

    @property
    def is_strict(self) -> bool:
        """Whether no failure at all is passed over."""
        return self == TestConfig(tags=self.tags, meta=self.meta)

    def overridden_by(self, other: TestConfig) -> TestConfig:
        """The same, but for what the other one sets."""
        return self.model_copy(update={key: getattr(other, key) for key in other.model_fields_set})

    def status(self, failures: int) -> Literal["pass", "warn", "error"]:
        """dbt's verdict: error_if counts only under severity error, then warn_if."""
        if self.severity == "error" and _holds(self.error_if, failures):
            return "error"
        return "warn" if _holds(self.warn_if, failures) else "pass"


def _holds(condition: str, failures: int) -> bool:
    if between := _BETWEEN.fullmatch(condition):
        return int(between[1]) <= failures <= int(between[2])
    match = _COMPARISON.fullmatch(condition)
    assert match is not None, "conditions are checked when they are read"
    sign, number = match[1], int(match[2])
    return {
        "=": failures == number,
        "==": failures == number,
        "!=": failures != number,
        "<>": failures != number,
        "<": failures < number,
        "<=": failures <= number,
        ">": failures > number,
        ">=": failures >= number,
    }[sign]


class PlainTest(StrictModel):
    """The config that every data test may have; `name` replaces the generated name.

    Its settings and arguments may also stand beside each other, as in dbt before 1.10.5.
    """

    name: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_]{0,199}$")
    description: str = ""
    config: TestConfig = TestConfig()

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        made = {key: value for key, value in given.items() if cls._owner(key) is None}
        for key, value in given.items():
            owner = cls._owner(key)
            below = made.get(owner, {}) if owner else None
            if isinstance(below, dict):
                if key in below:
                    raise ValueError(f"{key!r} is here twice, once in {owner}: keep one")
                made[str(owner)] = {**below, key: value}
        return made

    @classmethod
    def _owner(cls, key: str) -> str | None:
        """The mapping that a key belongs into if it is not one of a data test itself."""
        if key in cls.model_fields:
            return None
        if key in TestConfig.model_fields:
            return "config"
        return cls._owner_of_argument(key)

    @classmethod
    def _owner_of_argument(cls, key: str) -> str | None:
        arguments = cls.model_fields.get("arguments")
        known = getattr(arguments.annotation, "model_fields", {}) if arguments else {}
        return "arguments" if key in known else None


class AcceptedValuesArguments(StrictModel):
    values: list[str | int | float | bool] = Field(min_length=1)
    quote: bool = True


class AcceptedValuesTest(PlainTest):
    arguments: AcceptedValuesArguments


class RelationshipsArguments(StrictModel):
    """`to` is `ref('model')` or `source('name', 'table')`."""

    to: str
    field: str


class RelationshipsTest(PlainTest):
    arguments: RelationshipsArguments


class CustomTest(PlainTest):
    """A generic test of the project, with the arguments of its macro but `model` and
    `column_name`."""

    arguments: dict[str, Any] = {}

    @classmethod
    def _owner_of_argument(cls, _key: str) -> str | None:
        return "arguments"


class NamedTest(StrictModel):
    """A data test with arguments or a config of its own: one of dbt's four kinds, or a generic test
    of the project."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, CustomTest]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(schema))
        bare = {"type": "string", "examples": list(cls.model_fields)}
        return {"anyOf": [bare, {**made, "minProperties": 1, "maxProperties": 1}]}

    @model_validator(mode="before")
    @classmethod
    def _named_bare(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {given: {}}
        if isinstance(given, dict):
            return {kind: {} if body is None else body for kind, body in given.items()}
        return given

    unique: PlainTest | None = None
    not_null: PlainTest | None = None
    accepted_values: AcceptedValuesTest | None = None
    relationships: RelationshipsTest | None = None

    @model_validator(mode="after")
    def _is_one(self) -> NamedTest:
        if len(self.model_fields_set) != 1:
            raise ValueError("write each data test as an item of its own")
        return self

    @property
    def kind(self) -> str:
        return next(iter(self.model_fields_set))

    @property
    def body(self) -> PlainTest:
        body = getattr(self, self.kind)
        assert isinstance(body, PlainTest)
        return body


class ColumnMeta(StrictModel):
    """`personal` columns identify a person: no test file has them, and `show` masks them."""

    personal: bool = False


class ColumnConfig(StrictModel):
    meta: ColumnMeta = ColumnMeta()


class SourceColumn(StrictModel):
    name: str
    description: str = ""
    data_type: str | None = None
    quote: bool = False
    config: ColumnConfig = ColumnConfig()

    @property
    def identifier(self) -> str:
        """Its name as the server holds it: folded to lower case unless it is to be quoted."""
        return self.name if self.quote else self.name.lower()


class Column(SourceColumn):
    data_tests: list[NamedTest] = []


def _personal(columns: Sequence[SourceColumn]) -> frozenset[str]:
    return frozenset(column.identifier for column in columns if column.config.meta.personal)


class IndexDeclaration(StrictModel):
    """An index that models rely on: columns in order; `where` is its rows' condition."""

    columns: list[str] = Field(min_length=1)
    where: dict[str, bool | int | str | None] = {}


class SourceMeta(StrictModel):
    indexes: list[IndexDeclaration] = []


class SourceConfig(StrictModel):
    meta: SourceMeta = SourceMeta()


class SourceTable(StrictModel):
    name: str
    description: str = ""
    config: SourceConfig = SourceConfig()
    columns: list[SourceColumn] = Field(min_length=1)

    @property
    def personal(self) -> frozenset[str]:
        return _personal(self.columns)


class SourceDefinition(StrictModel):
    """Tables of the application that staging models read, and which of their columns."""

    name: str
    description: str = ""
    db_schema: str = Field(default="public", alias="schema")
    tables: list[SourceTable]


class ModelProperties(StrictModel):
    """One model's documentation, settings and data tests."""

    name: str = Field(pattern=IDENTIFIER)
    description: str = Field(min_length=1)
    config: NodeConfig = NodeConfig()
    columns: list[Column] = []
    data_tests: list[NamedTest] = []
    """Generic tests of the project that look at whole rows."""

    @property
    def personal(self) -> frozenset[str]:
        return _personal(self.columns)


class Properties(StrictModel):
    """One YAML file below models/."""

    version: Literal[2] = 2
    sources: list[SourceDefinition] = []
    models: list[ModelProperties] = []
    audiences: list[Audience] = []
    unit_tests: list[Any] = []
    """Read by `Project.unit_cases`: a run needs none of them."""
