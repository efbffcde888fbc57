"""What the YAML files below models/ may contain: dbt's properties for sources and models, and our
audiences beside them. These frozen classes are both the file format and the values the runner uses.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
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


_CONDITION = re.compile(r"\s*(=|==|!=|<>|<|<=|>|>=)\s*(\d+)\s*")


class TestConfig(StrictModel):
    """`config:` of a data test, in dbt's words. Conditions compare the number of failures."""

    severity: Literal["warn", "error"] = "error"
    where: str | None = None
    error_if: str = "!= 0"
    warn_if: str = "!= 0"
    tags: list[str] = []
    meta: dict[str, Any] = {}

    @field_validator("error_if", "warn_if")
    @classmethod
    def _is_a_condition(cls, condition: str) -> str:
        if not _CONDITION.fullmatch(condition):
            raise ValueError(f"{condition!r} is not a condition such as '!= 0' or '> 10'")
        return condition

    def status(self, failures: int) -> Literal["pass", "warn", "error"]:
        """dbt's verdict: error_if counts only under severity error, then warn_if."""
        if self.severity == "error" and _holds(self.error_if, failures):
            return "error"
        return "warn" if _holds(self.warn_if, failures) else "pass"


def _holds(condition: str, failures: int) -> bool:
    match = _CONDITION.fullmatch(condition)
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
    """The config that every data test may have; `name` replaces the generated name."""

    name: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_]{0,199}$")
    description: str = ""
    config: TestConfig = TestConfig()


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


class NamedTest(StrictModel):
    """A data test with arguments or a config of its own: exactly one of the four kinds."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(schema))
        bare = {"enum": list(cls.model_fields)}
        return {"anyOf": [bare, {**made, "minProperties": 1, "maxProperties": 1}]}

    @model_validator(mode="before")
    @classmethod
    def _named_bare(cls, given: Any) -> Any:
        return {given: {}} if isinstance(given, str) else given

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


class Column(StrictModel):
    name: str
    description: str = ""
    data_type: str | None = None
    quote: bool = False
    config: ColumnConfig = ColumnConfig()
    data_tests: list[NamedTest] = []

    @property
    def identifier(self) -> str:
        """Its name as the server holds it: folded to lower case unless it is to be quoted."""
        return self.name if self.quote else self.name.lower()


def _personal(columns: list[Column]) -> frozenset[str]:
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
    columns: list[Column] = Field(min_length=1)

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
