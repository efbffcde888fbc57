"""Which models an audience needs, in which order, and which of them become temp tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from runner.errors import ProjectError
from runner.project.nodes import Model
from runner.sql.render import RenderedModel


@dataclass(frozen=True)
class Graph:
    """The models below `roots`, upstream first. `roots` repeats a model for each of its readers."""

    models: dict[str, RenderedModel]
    roots: tuple[str, ...]

    @cached_property
    def tables(self) -> frozenset[str]:
        """Models to build once: read in two places or more, be it by one model, or set to
        `table`; never `ephemeral`."""
        readers = Counter(self.roots)
        for rendered in self.models.values():
            readers.update(rendered.reads)
        return frozenset(
            name
            for name, rendered in self.models.items()
            if rendered.materialized == "table"
            or (rendered.materialized is None and readers[name] > 1)
        )

    def upstream(self, name: str) -> frozenset[str]:
        """All models that `name` needs, itself included."""
        found = {name}
        waiting = [name]
        while waiting:
            new = set(self.models[waiting.pop()].refs) - found
            found |= new
            waiting += new
        return frozenset(found)

    def inlined_for(self, refs: Iterable[str], tables: Iterable[str]) -> list[str]:
        """The models to write as CTEs before a reader of `refs`, upstream first, if `tables` are
        built."""
        built = frozenset(tables)
        wanted: set[str] = set()
        waiting = list(refs)
        while waiting:
            name = waiting.pop()
            if name not in built | wanted:
                wanted.add(name)
                waiting += self.models[name].refs
        return [key for key in self.models if key in wanted]


def build_graph(roots: Iterable[Model], render: Callable[[str], RenderedModel]) -> Graph:
    """Follow `ref` from the roots. Raises `ProjectError` that names a cycle in full."""
    names = tuple(model.name for model in roots)
    ordered: dict[str, RenderedModel] = {}
    for name in names:
        _visit(name, (), ordered, render)
    return Graph(ordered, names)


def _visit(
    name: str,
    path: tuple[str, ...],
    ordered: dict[str, RenderedModel],
    render: Callable[[str], RenderedModel],
) -> None:
    if name in ordered:
        return
    rendered = render(name)
    if name in path:
        cycle = (*path[path.index(name) :], name)
        raise ProjectError(
            f"models read each other in a circle: {' -> '.join(cycle)}",
            where=rendered.model.location,
            fix="change one of them so that it reads none of the others",
        )
    for ref in rendered.refs:
        _visit(ref, (*path, name), ordered, render)
    ordered[name] = rendered
