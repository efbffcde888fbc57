"""The sandbox that templates are rendered in: text remembers where it was written, a text
parameter's value stays text, and whatever does not end is cut.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from jinja2 import Environment, StrictUndefined, Template, Undefined, nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

from runner.errors import ProjectError
from runner.project.macros import GenericTestTag
from runner.project.nodes import Macro

Place = tuple[tuple[str, int], ...]
"""A file and the offset in it; behind it those in the macro that is called there, and so on."""


class WrittenMark(NamedTuple):
    """From `offset` of a text on, the text was written at `place`."""

    offset: int
    place: Place
    is_copied: bool


@dataclass(frozen=True)
class Written:
    """What a template, a macro or a block made. `values` are spans that text parameters filled."""

    text: str
    marks: tuple[WrittenMark, ...] = ()
    values: tuple[tuple[int, int], ...] = ()


class RenderedText(str):
    """What a macro or a block made: text like any other, until it is printed."""

    written: Written

    @classmethod
    def of(cls, written: Written) -> RenderedText:
        made = cls(written.text)
        made.written = written
        return made

    def __str__(self) -> RenderedText:
        return self  # Jinja calls str() on what it prints: the places must survive that


class TextValue:
    """A text parameter's value, or text with one in it: may be printed and compared, nothing else.

    A filter or a concatenation would give text of which nobody knows any more that it came from
    the command line, so those are refused.
    """

    def __init__(self, given: str, written: Written) -> None:
        self._given = given
        self.written = written

    @classmethod
    def of_parameter(cls, given: str) -> TextValue:
        """Printed, it has its quotes doubled."""
        doubled = given.replace("'", "''")
        return cls(given, Written(doubled, values=((0, len(doubled)),)))

    def __eq__(self, other: object) -> bool:
        return self._given == (other._given if isinstance(other, TextValue) else other)

    def __hash__(self) -> int:
        return hash(self._given)

    def __bool__(self) -> bool:
        return bool(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def _refuse(self) -> NoReturn:
        raise ProjectError(
            "a text parameter can be printed and compared, but not changed",
            fix="declare another parameter with the text that is needed",
        )

    __str__ = __int__ = __float__ = __iter__ = __html__ = _refuse

    def __getitem__(self, _index: object) -> NoReturn:
        self._refuse()

    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __getitem__
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__


def _finalized(value: Any) -> Any:
    """Text parameters marked; negative numbers in parentheses: after a minus one would begin a
    comment."""
    if isinstance(value, TextValue):
        return RenderedText.of(value.written)
    is_negative = isinstance(value, int | float | Decimal) and value < 0
    return f"({value})" if is_negative else value


_TAG = re.compile("\0([^\0]+)\0(\\d+)(t|e)\0")
"""`t` is text, whose columns go on as they are; `e` an expression, which has one place."""


class TagPlaces(Extension):
    """Tags each line of a template's text, and each expression, with its offset in the source."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._read = threading.local()

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Jinja's tokens know no columns: find where each text and expression begins."""
        found: list[int] = []
        position = 0
        for _, kind, value in self.environment.lexer.tokeniter(source, name, filename):
            start = source.find(value, position)
            position = start + len(value)
            if kind in ("data", "variable_begin", "block_begin"):
                found.append(start)
        self._read.places = found
        return source

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        return _tagged(stream, iter(self._read.places))


def _tagged(stream: TokenStream, places: Iterator[int]) -> Iterator[Token]:
    waiting: Token | None = None
    place = 0
    for token in stream:
        if waiting:
            # what these blocks make is printed where they begin
            if token.value in ("call", "filter"):
                yield Token(waiting.lineno, "data", _tag(stream, place, "e"))
            yield waiting
            waiting = None
        if token.type in ("data", "variable_begin", "block_begin"):
            place = next(places)
        if token.type == "data":
            yield Token(token.lineno, "data", _tagged_lines(stream, token.value, place))
            continue
        if token.type == "variable_begin":
            yield Token(token.lineno, "data", _tag(stream, place, "e"))
        if token.type == "block_begin":
            waiting = token
            continue
        yield token


def _tag(stream: TokenStream, place: int, kind: str) -> str:
    return f"\0{stream.name}\0{place}{kind}\0"


def _tagged_lines(stream: TokenStream, text: str, place: int) -> str:
    tagged = []
    for line in text.splitlines(keepends=True):
        tagged.append(_tag(stream, place, "t") + line)
        place += len(line)
    return "".join(tagged)


def _concatenated(pieces: Iterable[Any]) -> RenderedText | TextValue:
    """What a template, macro or block made, of the pieces that it printed."""
    made = _Pieces()
    for piece in pieces:
        made.add(piece)
    written = Written("".join(made.texts), tuple(made.marks), tuple(made.values))
    return TextValue(written.text, written) if written.values else RenderedText.of(written)


class _Pieces:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.marks: list[WrittenMark] = []
        self.values: list[tuple[int, int]] = []
        self._length = 0

    def add(self, piece: Any) -> None:
        if isinstance(piece, RenderedText | TextValue):
            self._add_written(piece.written)
        else:
            self._add_tagged(str(piece))

    def _add_written(self, written: Written) -> None:
        at = self.marks[-1].place if self.marks else ()
        for mark in written.marks:
            place = _nested(at, mark.place)
            self.marks.append(WrittenMark(self._length + mark.offset, place, mark.is_copied))
        self.values += [(self._length + start, self._length + end) for start, end in written.values]
        self._add_text(written.text)

    def _add_tagged(self, piece: str) -> None:
        position = 0
        for tag in _TAG.finditer(piece):
            self._add_text(piece[position : tag.start()])
            position = tag.end()
            place = ((tag.group(1), int(tag.group(2))),)
            self.marks.append(WrittenMark(self._length, place, tag.group(3) == "t"))
        self._add_text(piece[position:])

    def _add_text(self, text: str) -> None:
        self.texts.append(text)
        self._length += len(text)
        if self._length > LONGEST_TEXT:
            raise ProjectError(
                f"its Jinja makes more than {LONGEST_TEXT:,} characters of SQL",
                fix="check the ends of its loops",
            )


def _nested(at: Place, inner: Place) -> Place:
    """The place of text that is printed `at`; text of the same file has its own place there."""
    if not at or inner[-1][0] == at[0][0]:
        return inner[-1:]
    return at + inner


# Bounds

LONGEST_TEXT = 10_000_000
"""Characters, in what a template makes and in any text on the way."""
MOST_STEPS = 1_000_000
"""Rounds of loops and calls of macros in one model."""
LONGEST_RENDERING = 30.0
"""Seconds for one model. Counting steps finds almost all endless ones long before."""
WIDEST_NUMBER = 10_000
"""Bits of a whole number, and powers of ten of a decimal one."""


@dataclass
class _Bounds:
    until: float
    steps: int = 0


_BOUNDS: ContextVar[_Bounds] = ContextVar("bounds")


@contextmanager
def bounded() -> Iterator[None]:
    """One rendering, which raises `ProjectError` where it exceeds the bounds."""
    token = _BOUNDS.set(_Bounds(time.monotonic() + LONGEST_RENDERING))
    try:
        yield
    finally:
        _BOUNDS.reset(token)


def _count_step() -> None:
    bounds = _BOUNDS.get()
    bounds.steps += 1
    if bounds.steps > MOST_STEPS or time.monotonic() > bounds.until:
        raise ProjectError(
            f"its Jinja does not end: it was stopped after {bounds.steps - 1:,} rounds of loops",
            fix="check the ends of its loops",
        )


def _checked_operands(operator: str, left: Any, right: Any) -> None:
    """Raises `ProjectError` for a number or a text that would be too big to make."""
    is_too_big = False
    if isinstance(left, int) and isinstance(right, int):
        bits = abs(left).bit_length()
        if operator == "**":
            is_too_big = bits > 1 and bits * right > WIDEST_NUMBER
        elif operator == "*":
            is_too_big = bits + abs(right).bit_length() > WIDEST_NUMBER
    elif operator == "*":
        for one, count in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(count, int):
                is_too_big = len(one) * count > LONGEST_TEXT
    elif operator == "+" and isinstance(left, str | list | tuple) and hasattr(right, "__len__"):
        is_too_big = len(left) + len(right) > LONGEST_TEXT
    if is_too_big:
        _refuse_size()


def _checked_result(value: Any) -> Any:
    if isinstance(value, Decimal) and abs(value.adjusted()) > WIDEST_NUMBER:
        _refuse_size()
    return value


def _refuse_size() -> NoReturn:
    raise ProjectError(
        "its Jinja makes a number or a text that is too big", fix="let PostgreSQL compute it"
    )


def _joined(*parts: Any) -> str:
    """What `~` makes."""
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) > LONGEST_TEXT:
        _refuse_size()
    return "".join(texts)


class _Rewritten(NodeTransformer):
    """The same template, which counts its steps."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return self._counted(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._counted(node)

    def _counted(self, node: Any) -> nodes.Node:
        node.body.insert(0, nodes.ExprStmt(_call("count_step", [], node.lineno)))
        return self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("joined", node.nodes, node.lineno)


def _call(name: str, arguments: list[Any], line: int) -> nodes.Call:
    function = nodes.EnvironmentAttribute(name, lineno=line)
    return nodes.Call(function, arguments, [], None, None, lineno=line)


class SqlEnvironment(SandboxedEnvironment):
    """The sandbox, in which an undefined name is an error."""

    concat = staticmethod(_concatenated)  # type: ignore[assignment]
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    count_step = staticmethod(_count_step)
    joined = staticmethod(_joined)

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            extensions=[TagPlaces, GenericTestTag, "jinja2.ext.do"],
            finalize=_finalized,
            keep_trailing_newline=False,
        )
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        # what Jinja computed of a Number, such as -ratio, may be a plain Decimal, which does not
        # take floats
        if isinstance(left, Decimal) and isinstance(right, float):
            right = Decimal(repr(right))
        elif isinstance(right, Decimal) and isinstance(left, float):
            left = Decimal(repr(left))
        _checked_operands(operator, left, right)
        return _checked_result(super().call_binop(context, operator, left, right))

    def made_template(self, tree: nodes.Template, file: str) -> Template:
        _Rewritten().visit(tree)
        tree.set_environment(self)
        code = self.compile(tree, file, file)
        return Template.from_code(self, code, self.make_globals(None))


_ENVIRONMENT = SqlEnvironment()


@lru_cache(maxsize=1024)
def template(path: Path, source_text: str) -> Template:
    """One file as a template."""
    file = str(path)
    return _ENVIRONMENT.made_template(_ENVIRONMENT.parse(source_text, file, file), file)


_ONLY_MACRO = "__macro__"
"""A macro's name in its template: its own name is then looked up like that of any other."""


@lru_cache(maxsize=256)
def _macro_templates(path: Path, source_text: str) -> dict[str, Template]:
    """Each macro of a file as a template of its own."""
    file = str(path)
    tree = _ENVIRONMENT.parse(source_text, file, file)
    found = {}
    for node in [node for node in tree.body if isinstance(node, nodes.Macro)]:
        name, node.name = node.name, _ONLY_MACRO
        found[name] = _ENVIRONMENT.made_template(nodes.Template([node], lineno=1), file)
    return found


def callable_macro(macro: Macro, names: dict[str, Any]) -> Callable[..., Any]:
    """A macro as a function whose text reads `names`."""
    made = _macro_templates(macro.path, macro.source_text)[macro.name]
    context = made.new_context(names)
    for _ in made.root_render_func(context):
        pass
    function: Any = context.vars[_ONLY_MACRO]
    function.name = macro.name
    return cast(Callable[..., Any], function)


def expression(source: str, names: Mapping[str, Any]) -> Any:
    """The value of one expression."""
    value = _ENVIRONMENT.compile_expression(source, undefined_to_none=False)(**names)
    if isinstance(value, Undefined):
        str(value)  # which says what is undefined
    return value


def text_of(source: str, names: Mapping[str, Any]) -> RenderedText | TextValue:
    """The text that a short template makes, whose places are not known."""
    made: Any = template(Path("argument"), source).render(names)
    written = replace(made.written, marks=())
    return TextValue(written.text, written) if written.values else RenderedText.of(written)


_WORDS_FOR_TYPES = {
    "str": "text", "RenderedText": "text", "TextValue": "a text parameter", "int": "a number",
    "float": "a number", "Decimal": "a number", "Number": "a number", "bool": "true or false",
    "NoneType": "none",
    "list": "a list", "tuple": "a list", "set": "a list", "range": "a list", "dict": "a mapping",
    "datetime": "a time", "SimpleNamespace": "the project", "function": "a word of dbt",
    "method": "a word of dbt", "builtin_function_or_method": "a method", "Macro": "a macro",
}  # fmt: skip
_TYPE = re.compile(r"'(?:\w+\.)*(\w+)(?:'(?: object)?| object')")


def in_plain_words(message: str) -> str:
    """A message of Jinja or Python, in which types have the names that analysts know."""
    return _TYPE.sub(lambda found: _WORDS_FOR_TYPES.get(found[1], found[0]), message)
