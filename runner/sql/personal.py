"""Which columns of a model are personal, and how they are masked."""

from __future__ import annotations

from runner.sql.compile import CompiledAudience

MASKED = "***"


def is_personal(compiled: CompiledAudience, model: str, column: str) -> bool:
    """Whether a model's column identifies a person.

    It does if the model's YAML marks it `personal`, or the YAML of a model or source upstream
    marks a column of that name. A column that no YAML describes does if anything upstream is
    personal.
    """
    properties = compiled.project.models[model].properties
    described = properties.columns if properties else []
    is_described = any(one.identifier == column for one in described)
    upstream = _personal_upstream(compiled, model)
    return column in upstream or (not is_described and bool(upstream))


def _personal_upstream(compiled: CompiledAudience, model: str) -> frozenset[str]:
    found: set[str] = set()
    for name in compiled.graph.upstream(model):
        rendered = compiled.graph.models[name]
        if rendered.model.properties:
            found |= rendered.model.properties.personal
        for key in rendered.sources:
            found |= compiled.project.sources[key].personal
    return frozenset(found)
