"""Declared parameters + given values -> checked values, before anything connects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from runner.clock import instant
from runner.errors import Location, ParameterError, ProjectError, did_you_mean
from runner.project.audience import Audience, Parameter
from runner.project.nodes import Project

Value = Decimal | int | bool | str
Values = dict[str, Value]

_DECIMAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
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
    project: Project, audience: Audience, given: Mapping[str, str], as_of: datetime
) -> CheckedParameters:
    """Type, bounds, then the audience's rules. Raises `ParameterError` for the first misfit."""
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
        where = project.audience_location(audience, "parameters", index, "default")
        default = _checked(parameter, _as_text(parameter.default), where)
        defaults[parameter.name] = default
        text = given.get(parameter.name)
        values[parameter.name] = default if text is None else _checked(parameter, text, None)
    window = _window(project, audience, values, as_of)
    _check_rules(project, audience, values, window)
    return CheckedParameters(values, as_of, window, defaults)


def _as_text(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _checked(parameter: Parameter, text: str, where: Location | None) -> Value:
    """The typed value of `text`. `where` is set if it comes from YAML, not the command line."""
    value = _typed(parameter, text.strip())
    if value is None:
        wanted = {
            "hours": "hours, fractions allowed, such as 48 or 30.5",
            "integer": "a whole number",
            "number": "a number",
            "boolean": "true or false",
            "text": f"text, {parameter.bounds}",
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
    if parameter.type in ("hours", "number"):
        return Decimal(text) if _DECIMAL.fullmatch(text) else None
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
    )


def _window(project: Project, audience: Audience, values: Values, as_of: datetime) -> Window | None:
    if audience.window is None:
        return None
    ago = {
        key: _evaluate(project, audience, ("window", key), expression, values)
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
