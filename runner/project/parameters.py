"""Declared parameters + given values -> checked values, before anything connects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from runner.clock import instant
from runner.errors import Location, ParameterError, ProjectError, did_you_mean
from runner.project.audience import NUMERIC, Audience, Parameter
from runner.project.nodes import Project


def _with_floats(method: Callable[..., Any]) -> Callable[[Decimal, Any], Any]:
    def calculated(self: Decimal, other: Any) -> Any:
        result = method(self, Decimal(str(other)) if isinstance(other, float) else other)
        return Number(result) if isinstance(result, Decimal) else result

    return calculated


class Number(Decimal):
    """A decimal that also takes floats, exactly as they are written: the literals of Jinja."""

    __add__ = __radd__ = _with_floats(Decimal.__add__)
    __mul__ = __rmul__ = _with_floats(Decimal.__mul__)
    __sub__, __rsub__ = _with_floats(Decimal.__sub__), _with_floats(Decimal.__rsub__)
    __truediv__ = _with_floats(Decimal.__truediv__)
    __rtruediv__ = _with_floats(Decimal.__rtruediv__)
    __floordiv__ = _with_floats(Decimal.__floordiv__)
    __rfloordiv__ = _with_floats(Decimal.__rfloordiv__)
    __mod__, __rmod__ = _with_floats(Decimal.__mod__), _with_floats(Decimal.__rmod__)
    __lt__, __le__ = _with_floats(Decimal.__lt__), _with_floats(Decimal.__le__)
    __gt__, __ge__ = _with_floats(Decimal.__gt__), _with_floats(Decimal.__ge__)
    __eq__ = _with_floats(Decimal.__eq__)
    __hash__ = Decimal.__hash__


Value = Number | int | bool | str
"""The text of a uuid is as PostgreSQL prints it."""
Values = dict[str, Value]

_DECIMAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False}

_JINJA = SandboxedEnvironment(undefined=StrictUndefined)


@dataclass(frozen=True)
class Window:
    """The span of time that counts: from `start` on, up to but not at `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class CheckedParameters:
    """Typed values of all parameters, the window they make (None if none is declared), and the
    defaults that the audience declares."""

    values: Values
    as_of: datetime
    window: Window | None
    defaults: Mapping[str, Value] = field(default_factory=dict)

    @property
    def json_values(self) -> dict[str, Any]:
        """The values as JSON has them, where there is one kind of number."""
        return {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in self.values.items()
        }


def check_parameters(
    project: Project,
    audience: Audience,
    given: Mapping[str, str],
    as_of: datetime,
    *,
    with_examples: bool = False,
) -> CheckedParameters:
    """Type, bounds, then the audience's rules. Raises `ParameterError` for the first misfit.

    `with_examples` is for what runs nothing: a required parameter that is not given then has the
    value of its example.
    """
    for name in given:
        if audience.parameter(name) is None:
            known = [parameter.name for parameter in audience.parameters]
            raise ParameterError(
                f"audience {audience.name} has no parameter {name!r}",
                fix=did_you_mean(name, known),
            )
    values: Values = {}
    defaults: Values = {}
    for index, parameter in enumerate(audience.parameters):
        key = "example" if parameter.is_required else "default"
        where = project.audience_location(audience, "parameters", index, key)
        declared = _checked(parameter, as_text(getattr(parameter, key)), where)
        if not parameter.is_required:
            defaults[parameter.name] = declared
        text = given.get(parameter.name)
        values[parameter.name] = declared if text is None else _checked(parameter, text, None)
    if not with_examples:
        _check_required(audience, given)
    window = _window(project, audience, values, as_of)
    _check_rules(project, audience, values, window)
    return CheckedParameters(values, as_of, window, defaults)


def _check_required(audience: Audience, given: Mapping[str, str]) -> None:
    missing = [one for one in audience.parameters if one.is_required and one.name not in given]
    if missing:
        described = (f"{one.name} ({' '.join(one.description.split())})" for one in missing)
        options = " ".join(f"--var {one.name}={as_text(one.example)}" for one in missing)
        raise ParameterError(
            f"audience {audience.name} must be given {' and '.join(described)}",
            fix=f"add {options}, with the value that you want",
        )


def as_text(default: object) -> str:
    """A value as it is given on the command line."""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _checked(parameter: Parameter, text: str, where: Location | None) -> Value:
    """The typed value of `text`. `where` is set if it comes from YAML, not the command line."""
    value = _typed(parameter, text.strip())
    if value is None:
        wanted = {
            "hours": "hours, fractions allowed, such as 48 or 30.5",
            "days": "days of 24 hours, fractions allowed, such as 7 or 0.5",
            "integer": "a whole number",
            "number": "a number",
            "boolean": "true or false",
            "text": f"text, {parameter.bounds}",
            "uuid": "a uuid, such as 10000001-0000-4000-8000-000000000000",
        }[parameter.type]
        raise ParameterError(
            f"{parameter.name} must be {wanted}", where=where, looked_at=f"given: {text!r}"
        )
    if isinstance(value, Decimal | int) and not _within(parameter, value):
        raise ParameterError(
            f"{parameter.name} must be {parameter.bounds}",
            where=where,
            looked_at=f"given: {text}",
        )
    return value


def _typed(parameter: Parameter, text: str) -> Value | None:
    if parameter.type == "boolean":
        return _BOOLEANS.get(text.lower())
    if parameter.type == "integer":
        return int(text) if _INTEGER.fullmatch(text) else None
    if parameter.type in NUMERIC:
        return Number(text) if _DECIMAL.fullmatch(text) else None
    if parameter.type == "uuid":
        return text.lower() if _UUID.fullmatch(text) else None
    if parameter.choices is not None and text not in parameter.choices:
        return None
    if parameter.pattern is not None and not re.fullmatch(parameter.pattern, text):
        return None
    return text if text.isprintable() else None


def _within(parameter: Parameter, value: Decimal | int) -> bool:
    def limit(bound: float | None) -> Decimal | None:
        return None if bound is None else Decimal(str(bound))

    above, below = limit(parameter.above), limit(parameter.below)
    minimum, maximum = limit(parameter.minimum), limit(parameter.maximum)
    return (
        (above is None or value > above)
        and (below is None or value < below)
        and (minimum is None or value >= minimum)
        and (maximum is None or value <= maximum)
        and (parameter.choices is None or value in parameter.choices)
    )


def _window(project: Project, audience: Audience, values: Values, as_of: datetime) -> Window | None:
    if audience.window is None:
        return None
    ago = {
        key: _hours(project, audience, ("window", key), str(expression), values)
        for key, expression in audience.window.model_dump().items()
    }
    try:
        start, end = (
            as_of - timedelta(microseconds=round(Decimal(hours) * 3_600_000_000))
            for hours in (ago["start_hours_ago"], ago["end_hours_ago"])
        )
    except (OverflowError, TypeError, ValueError, ArithmeticError):
        raise ParameterError(
            "the window is outside the calendar",
            looked_at=f"it begins {ago['start_hours_ago']} hours and ends {ago['end_hours_ago']} "
            "hours before the as-of time",
        ) from None
    return Window(start, end)


def _hours(
    project: Project, audience: Audience, at: tuple[str | int, ...], expression: str, values: Values
) -> Decimal | float:
    hours = _evaluate(project, audience, at, expression, values)
    if isinstance(hours, bool) or not isinstance(hours, Decimal | int | float):
        raise ProjectError(
            f"the expression {expression!r} is {hours!r}, not a number of hours",
            where=project.audience_location(audience, *at),
            fix="calculate with parameters that are numbers",
        )
    return hours


def _check_rules(
    project: Project, audience: Audience, values: Values, window: Window | None
) -> None:
    names: dict[str, Any] = dict(values)
    if window is not None:
        names |= {"window_start": instant(window.start), "window_end": instant(window.end)}
    for index, rule in enumerate(audience.rules):
        at = ("rules", index, "must")
        if not _evaluate(project, audience, at, rule.must, values):
            try:
                message = _JINJA.from_string(rule.message).render(names)
            except Exception as problem:
                where = project.audience_location(audience, "rules", index, "message")
                raise ProjectError(str(problem), where=where) from None
            raise ParameterError(message.strip(), looked_at=f"rule: {rule.must}")


def _evaluate(
    project: Project, audience: Audience, at: tuple[str | int, ...], expression: str, values: Values
) -> Any:
    try:
        result = _JINJA.compile_expression(expression, undefined_to_none=False)(**values)
        if isinstance(result, Undefined):
            raise UndefinedError(f"{expression!r} is undefined")
        return result
    except Exception as problem:
        raise ProjectError(
            f"the expression {expression!r} cannot be evaluated: {problem}",
            where=project.audience_location(audience, *at),
            fix=f"it may use the parameters: {', '.join(values)}",
        ) from None
