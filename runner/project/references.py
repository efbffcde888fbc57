"""Whether what an audience's YAML names is there: columns, and all that `trace:` refers to."""

from __future__ import annotations

from runner.errors import Location, ProjectError, did_you_mean
from runner.project.audience import Audience, KeySource
from runner.project.nodes import Project


def check_column(project: Project, model: str, column: str, where: Location) -> None:
    """A column must be among those that its model describes, if it describes any."""
    properties = project.models[model].properties
    described = [one.name for one in properties.columns] if properties else []
    if described and column not in described:
        raise ProjectError(
            f"model {model} describes no column {column!r}",
            where=where,
            mend=did_you_mean(column, described),
        )


def check_trace(project: Project, audience: Audience) -> None:
    """What `trace:` names must be there: columns, models, parameters, a source's column."""
    trace = audience.trace
    if trace.time is not None:
        where = project.audience_location(audience, "trace", "time")
        check_column(project, audience.activity_model, trace.time, where)
    for name in trace.widen:
        if audience.parameter(name) is None:
            raise ProjectError(
                f"audience {audience.name} has no parameter {name!r}",
                where=project.audience_location(audience, "trace", "widen", name),
                mend=did_you_mean(name, [one.name for one in audience.parameters]),
            )
    for index, reason in enumerate(trace.reasons):
        where = project.audience_location(audience, "trace", "reasons", index)
        if reason.model not in project.models:
            mend = did_you_mean(reason.model, project.models)
            raise ProjectError(f"there is no model {reason.model!r}", where=where, mend=mend)
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
            mend=did_you_mean(
                f"{wanted.source}.{wanted.table}", [".".join(key) for key in project.sources]
            ),
        )
    columns = [name for name, _ in source.columns]
    if wanted.column not in columns:
        raise ProjectError(
            f"source table {wanted.source}.{wanted.table} declares no column {wanted.column!r}",
            where=where,
            mend=did_you_mean(wanted.column, columns),
        )
