"""Small changes of a model's source text, each of which some unit test should notice.

They are made on the tokens of the SQL with its Jinja blanked out, so that text, comments and Jinja
stay what they are; what an expression in Jinja gives can be changed too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.tools.unit_tests.clauses import BLANK, Code, conditions, order_items, output_columns

_INTEGER = re.compile(r"\d+")

OPERATORS = {
    ">=": (">", "<"), ">": (">=", "<"), "<=": ("<", ">"), "<": ("<=", ">"),
    "=": ("<>",), "<>": ("=",), "!=": ("=",),
    "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "->>": ("->",),
}  # fmt: skip
WORDS = {
    "and": "or", "or": "and", "asc": "desc", "desc": "asc", "true": "false", "false": "true",
    "min": "max", "max": "min", "bool_and": "bool_or", "bool_or": "bool_and", "sum": "max",
    "greatest": "least", "least": "greatest", "lag": "lead", "lead": "lag",
    "first_value": "last_value", "last_value": "first_value",
    "row_number": "rank", "rank": "dense_rank", "intersect": "except", "except": "intersect",
}  # fmt: skip
PHRASES = {
    "inner join": "left join", "left join": "inner join", "left outer join": "inner join",
    "right join": "inner join", "right outer join": "inner join", "full join": "inner join",
    "full outer join": "inner join", "join": "left join",
    "union all": "union", "union": "union all",
    "is null": "is not null", "is not null": "is null", "not in": "in", "in": "not in",
    "nulls first": "nulls last", "nulls last": "nulls first", "not": "",
    "select distinct": "select",
}  # fmt: skip
KEPT = ("not materialized", "is not distinct", "cross join", "select distinct on")
"""Phrases that begin like one above, but say something else or nothing about the result."""
FIRST_ARGUMENT = frozenset({"coalesce", "nullif", "btrim", "trim", "lower", "upper", "round"})
CLOCK_TYPES = frozenset({"timestamptz", "timestamp", "date"})


@dataclass(frozen=True)
class Mutation:
    """One change: the text between two offsets becomes another."""

    start: int
    end: int
    replacement: str

    def applied(self, source: str) -> str:
        return source[: self.start] + self.replacement + source[self.end :]

    def change(self, source: str) -> tuple[str, str]:
        """What was there and what is there now, on one line each."""
        return _on_one_line(source[self.start : self.end]), _on_one_line(self.replacement)

    def line_and_column(self, source: str) -> tuple[int, int]:
        """Both from 1."""
        before = source[: self.start]
        return before.count("\n") + 1, self.start - (before.rfind("\n") + 1) + 1


def _on_one_line(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).strip(" ")


def mutations(source: str, parameters: Mapping[str, str]) -> list[Mutation]:
    """All changes of a model, in the order of its text. `parameters` are types by name."""
    code = Code.of(source)
    found: dict[Mutation, None] = {}
    for rule in RULES:
        found |= dict.fromkeys(rule(code))
    found |= dict.fromkeys(_parameters(code, parameters))
    useful = [one for one in found if one.applied(source) != source]
    return sorted(useful, key=lambda one: (one.start, one.end, one.replacement))


def _operators(code: Code) -> Iterator[Mutation]:
    for index, token in enumerate(code.tokens):
        is_binary = index > 0 and code.tokens[index - 1].value not in ("(", ",", ".", "select")
        if token.kind == "symbol" and is_binary:
            for other in OPERATORS.get(token.value, ()):
                yield Mutation(token.start, token.end, other)


def _words(code: Code) -> Iterator[Mutation]:
    for index, token in enumerate(code.tokens):
        is_bound = token.value == "and" and code.closes_between(index)
        if token.kind == "word" and token.value in WORDS and not is_bound:
            yield Mutation(token.start, token.end, WORDS[token.value])


def _phrases(code: Code) -> Iterator[Mutation]:
    index = 0
    while index < len(code.tokens):
        if code.phrase(index, KEPT):
            index += 2
        elif phrase := code.phrase(index, PHRASES):
            last = code.tokens[index + len(phrase.split()) - 1]
            yield Mutation(code.tokens[index].start, last.end, PHRASES[phrase])
            index += len(phrase.split())
        else:
            index += 1


def _numbers(code: Code) -> Iterator[Mutation]:
    for index, token in enumerate(code.tokens):
        if token.kind == "number" and _INTEGER.fullmatch(token.value):
            for other in (int(token.value) + 1, int(token.value) - 1):
                yield Mutation(token.start, token.end, str(other))
        if token.kind == "text" and code.value_before(index) == "interval":
            given = code.source[token.start : token.end]
            if number := _INTEGER.search(given):
                more = given.replace(number.group(), str(int(number.group()) + 1), 1)
                yield Mutation(token.start, token.end, more)


def _texts(code: Code) -> Iterator[Mutation]:
    for index, token in enumerate(code.tokens):
        if token.kind != "text" or code.value_before(index) == "interval":
            continue
        if code.values(index + 1, 2)[:1] == ["::"] and code.has_jinja(token):
            kind = code.tokens[index + 2]
            for sign in "+-" if kind.value in CLOCK_TYPES else "":
                other = f"{kind.value} {sign} interval '1 microsecond'"
                yield Mutation(kind.start, kind.end, other)
            continue
        yield Mutation(token.start, token.end, "'mutated'")
        if token.value and not re.search(rf"\w|{BLANK}", re.sub(r"\\.", "", token.value)):
            yield from _dropped_characters(code, token.start, token.end)


def _dropped_characters(code: Code, start: int, end: int) -> Iterator[Mutation]:
    """A text without letters is a set of characters: each of them may matter."""
    given = code.text(start, end)
    for one in re.finditer(r"\\.|''|[^\\']", given[given.index("'") + 1 : -1]):
        at = given.index("'") + 1 + one.start()
        yield Mutation(start, end, given[:at] + given[at + len(one.group()) :])


def _calls(code: Code) -> Iterator[Mutation]:
    for index, token in enumerate(code.tokens):
        if token.kind != "word" or code.values(index + 1, 1) != ["("]:
            continue
        close = code.closing(index + 1)
        whole = token.start, code.tokens[close].end
        if token.value == "count":
            yield Mutation(*whole, "min(1)")
        if token.value in FIRST_ARGUMENT:
            arguments = code.arguments(index + 1)
            yield Mutation(*whole, code.text(*arguments[0]))
            if token.value == "coalesce":
                yield Mutation(*whole, code.text(*arguments[-1]))


def _defaults(code: Code) -> Iterator[Mutation]:
    """`else` and `partition by`, each left out."""
    for index, token in enumerate(code.tokens):
        if token.value == "else" and token.kind == "word":
            last = code.operand_end(index + 1)
            yield Mutation(code.tokens[index + 1].start, last, "null")
        if code.values(index, 2) == ["partition", "by"]:
            stop = code.operand_end(index + 2, is_list=True)
            yield Mutation(token.start, stop, "")
        if code.values(index, 3) == ["distinct", "on", "("]:
            close = code.tokens[code.closing(index + 2)]
            yield Mutation(token.start, close.end, "")


def _conditions(code: Code) -> Iterator[Mutation]:
    for start, end, neutral in conditions(code):
        yield Mutation(start, end, neutral)


def _orderings(code: Code) -> Iterator[Mutation]:
    for items in order_items(code):
        for number, (start, end) in enumerate(items):
            words = code.source[start:end].lower().split()
            if "asc" not in words and "desc" not in words:
                yield Mutation(start, end, f"{code.text(start, end)} desc")
            if len(items) > 1 and number == 0:
                yield Mutation(start, items[1][0], "")
            elif len(items) > 1:
                yield Mutation(items[number - 1][1], end, "")


def _columns(code: Code) -> Iterator[Mutation]:
    for start, end, has_name in output_columns(code):
        name = code.source[start:end].split(".")[-1]
        yield Mutation(start, end, "null" if has_name else f"null as {name}")


RULES: tuple[Callable[[Code], Iterator[Mutation]], ...] = (
    _operators, _words, _phrases, _numbers, _texts, _calls, _defaults, _conditions, _orderings,
    _columns,
)  # fmt: skip


def _parameters(code: Code, types: Mapping[str, str]) -> Iterator[Mutation]:
    """A parameter outside quotes: one more and one less, or its opposite."""
    for start, end, name in code.parameters():
        given = code.source[start:end]
        if types.get(name) == "boolean":
            yield Mutation(start, end, f"(not {given})")
        elif types.get(name) in ("integer", "number", "hours"):
            for sign in "+-":
                yield Mutation(start, end, f"({given} {sign} 1)")
