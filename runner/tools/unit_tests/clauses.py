"""The clauses of a model's source text: just enough structure to change one thing in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from runner.sql.tokens import Token, tokens

Span = tuple[int, int]

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_VAR = re.compile(r"""\{\{-?\s*var\(\s*['"](\w+)['"]\s*\)\s*-?\}\}""")
BLANK = "\ue000"
"""A letter that no SQL uses: a Jinja expression becomes one long word of it."""
_OPERATOR = frozenset("+-*/<>=~!@#%^&|?")

CONNECTIVES = frozenset({"and", "or"})
CONDITION_STARTS = frozenset({"where", "on", "having"})
_BOUNDARIES = CONNECTIVES | CONDITION_STARTS | frozenset({
    "select", "from", "when", "then", "else", "end", "as", "group", "order", "limit", "offset",
    "union", "except", "intersect", "inner", "left", "right", "full", "cross", "join", "window",
    "case", "filter", "over", "asc", "desc", "rows", "range", "nulls", ",",
})  # fmt: skip


@dataclass(frozen=True)
class Code:
    """Source text and its tokens, each with how deep it lies in parentheses."""

    source: str = field(repr=False)
    tokens: tuple[Token, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, source: str) -> Code:
        found = _with_operators(list(tokens(_JINJA.sub(_blanked, source))))
        depths, depth = [], 0
        for token in found:
            depth -= token.value in (")", "]")
            depths.append(depth)
            depth += token.value in ("(", "[")
        return cls(source, tuple(found), tuple(depths))

    def values(self, index: int, count: int) -> list[str]:
        """The values of some tokens from an index on; fewer at the end."""
        return [token.value for token in self.tokens[max(index, 0) : max(index, 0) + count]]

    def value_before(self, index: int) -> str:
        return self.tokens[index - 1].value if index else ""

    def text(self, start: int, end: int) -> str:
        return self.source[start:end]

    def has_jinja(self, token: Token) -> bool:
        return BLANK in token.value

    def phrase(self, index: int, phrases: Collection[str]) -> str | None:
        """The longest of some phrases that starts at a token."""
        for length in (3, 2, 1):
            found = " ".join(self.values(index, length))
            if found in phrases and self.tokens[index].kind == "word":
                return found
        return None

    def closing(self, opening: int) -> int:
        """The index of the parenthesis that closes another."""
        depth = self.depths[opening]
        return next(
            index
            for index in range(opening + 1, len(self.tokens))
            if self.depths[index] == depth and self.tokens[index].value in (")", "]")
        )

    def arguments(self, opening: int) -> list[Span]:
        """The spans between the commas of a call."""
        close, inside = self.closing(opening), self.depths[opening] + 1
        found, first = [], opening + 1
        for index in range(opening + 1, close + 1):
            is_comma = self.tokens[index].value == "," and self.depths[index] == inside
            if (is_comma or index == close) and index > first:
                found.append((self.tokens[first].start, self.tokens[index - 1].end))
                first = index + 1
        return found

    def operand_end(self, first: int, *, is_list: bool = False) -> int:
        """The offset at which the expression that starts at a token ends."""
        last = first
        for index in range(first, len(self.tokens)):
            value, depth = self.tokens[index].value, self.depths[index]
            is_comma = value == "," and is_list
            if depth < self.depths[first] or (
                depth == self.depths[first]
                and value in _BOUNDARIES
                and self.tokens[index].kind != "text"
                and not is_comma
            ):
                break
            last = index
        return self.tokens[last].end

    def operand_start(self, last: int) -> int:
        """The index of the token at which the expression that ends at a token starts."""
        first = last
        for index in range(last, -1, -1):
            value, depth = self.tokens[index].value, self.depths[index]
            is_end = depth == self.depths[last] and value in _BOUNDARIES
            if depth < self.depths[last] or (is_end and self.tokens[index].kind != "text"):
                break
            first = index
        return first

    def closes_between(self, index: int) -> bool:
        """Whether an `and` belongs to a `between`."""
        for before in range(index - 1, -1, -1):
            if self.depths[before] == self.depths[index]:
                if self.tokens[before].value == "between":
                    return True
                if self.tokens[before].value in _BOUNDARIES:
                    return False
            if self.depths[before] < self.depths[index]:
                return False
        return False

    def parameters(self) -> Iterator[tuple[int, int, str]]:
        """Each `{{ var('name') }}` outside quotes: its span and the name."""
        for token in self.tokens:
            if token.kind == "word" and BLANK in token.value:
                for one in _VAR.finditer(self.source, token.start, token.end):
                    yield one.start(), one.end(), one.group(1)


def conditions(code: Code) -> Iterator[tuple[int, int, str]]:
    """Each operand of and, or, where, on, having: its span, and the constant that leaves it out."""
    for index, token in enumerate(code.tokens):
        if token.kind != "word" or (token.value == "and" and code.closes_between(index)):
            continue
        is_start = token.value in CONDITION_STARTS and code.value_before(index) != "distinct"
        if is_start or token.value in CONNECTIVES:
            neutral = "false" if token.value == "or" else "true"
            yield code.tokens[index + 1].start, code.operand_end(index + 1), neutral
        if token.value in CONNECTIVES:
            first = code.tokens[code.operand_start(index - 1)]
            neutral = "false" if token.value == "or" else "true"
            yield first.start, code.tokens[index - 1].end, neutral


def order_items(code: Code) -> Iterator[list[Span]]:
    """The items of each `order by`."""
    for index in range(len(code.tokens)):
        if code.values(index, 2) == ["order", "by"]:
            yield list(_items(code, index + 2))


def _items(code: Code, first: int) -> Iterator[Span]:
    depth, start = code.depths[first], first
    for index in range(first, len(code.tokens) + 1):
        is_end = index == len(code.tokens) or code.depths[index] < depth
        value = "" if is_end else code.tokens[index].value
        is_end = is_end or (code.depths[index] == depth and value in ("limit", "offset", "rows"))
        if is_end or (value == "," and code.depths[index] == depth):
            yield code.tokens[start].start, code.tokens[index - 1].end
            start = index + 1
        if is_end:
            return


def output_columns(code: Code) -> Iterator[tuple[int, int, bool]]:
    """Each column of the last select: the span of its expression, and whether it has a name
    of its own. Those without a name that are not plainly a column are left out."""
    selects = [
        index
        for index, token in enumerate(code.tokens)
        if token.value == "select" and token.kind == "word" and code.depths[index] == 0
    ]
    first = selects[-1] + 1 if selects else 0
    if code.values(first, 3) == ["distinct", "on", "("]:
        first = code.closing(first + 2) + 1
    for start, end in _list(code, first):
        names = [
            i for i in range(start, end) if (code.tokens[i].value, code.depths[i]) == ("as", 0)
        ]
        last = code.tokens[(names[-1] if names else end) - 1]
        values = code.values(start, end - start)
        is_plain = len(values) in (1, 3) and values[1:2] in ([], ["."])
        if names or is_plain:
            yield code.tokens[start].start, last.end, bool(names)


def _list(code: Code, first: int) -> Iterator[Span]:
    """The items of a select list, as spans of tokens."""
    start = first
    for index in range(first, len(code.tokens)):
        is_end = code.tokens[index].value == "from" and code.depths[index] == 0
        if is_end or (code.tokens[index].value == "," and code.depths[index] == 0):
            if code.tokens[start].value != "*":
                yield start, index
            start = index + 1
        if is_end:
            return


def _blanked(match: re.Match[str]) -> str:
    """Jinja of the same length: an expression as one word, anything else as blanks."""
    is_expression = match.group().startswith("{{")
    return re.sub(r"[^\n]", BLANK if is_expression else " ", match.group())


def _with_operators(found: list[Token]) -> list[Token]:
    """The same tokens, neighbouring operator characters as one symbol."""
    joined: list[Token] = []
    for token in found:
        last = joined[-1] if joined else None
        if (
            last
            and last.kind == token.kind == "symbol"
            and last.end == token.start
            and {*last.value, token.value} <= _OPERATOR
        ):
            joined[-1] = Token("symbol", last.value + token.value, last.start, token.end)
        else:
            joined.append(token)
    return joined
