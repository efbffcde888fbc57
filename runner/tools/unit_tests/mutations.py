"""Small changes of a model's SQL, each of which a unit test should notice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from runner.errors import ConnectionLost, DatabaseError, Location, ProjectError, UsageError
from runner.project.nodes import Model, Project
from runner.project.unit_test import EquivalentChange, UnitCase
from runner.sql.tokens import Token, tokens
from runner.tools.unit_tests.unit_tests import CaseSession, chosen_cases, model_audience

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
    """Source text and its tokens, each with its depth in parentheses."""

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
"""Phrases that begin like one above, but mean something else or do not change the result."""
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


Outcome = Literal["noticed", "refused", "equivalent", "unnoticed", "stale"]
NOT_SQL = ("42", "0A")
"""Classes of SQLSTATE: no run would get past the server with this, and no case is needed."""


@dataclass(frozen=True)
class Equivalence:
    """A note in a case's YAML that a change of its model means the same, and where it stands."""

    noted: EquivalentChange
    location: Location

    def explains(self, model: Model, mutation: Mutation) -> bool:
        line, _ = mutation.line_and_column(model.source_text)
        text = model.source_text.splitlines()[line - 1].strip()
        return (text, mutation.change(model.source_text)) == (self.noted.line, self.noted.change)


@dataclass(frozen=True)
class Mutant:
    """One change of one model and what came of it. `explanation` is a case, or a reason."""

    path: Path
    line: int
    column: int
    change: tuple[str, str]
    difference: tuple[str, ...]
    outcome: Outcome
    explanation: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "line": self.line,
            "column": self.column,
            "from": self.change[0],
            "to": self.change[1],
            "outcome": self.outcome,
            "case" if self.outcome == "noticed" else "reason": self.explanation or None,
        }


def check_mutations(
    case_session: CaseSession,
    select: Sequence[str],
    report: Callable[[str], None] = lambda _line: None,
) -> list[Mutant]:
    """Change each model, once for each mutation, and run its cases.

    All models, or those that `select` names or whose cases it names. `report` is called with a
    line of progress for each. Raises `UsageError` if a case fails as things are,
    `ProjectError` at a case that is wrong.
    """
    chosen = {case.test.model for case in chosen_cases(case_session.project, select)}
    found: list[Mutant] = []
    for name, model in case_session.project.models.items():
        if select and name not in chosen:
            continue
        own = [case for case in case_session.project.unit_cases if case.test.model == name]
        _check_that_all_pass(case_session, own)
        made = list(_mutants(case_session, model, own))
        noticed = sum(one.outcome in ("noticed", "refused") for one in made)
        report(f"{name}: {noticed} of {len(made)} changes noticed by {len(own)} cases")
        found += made
    return found


def _check_that_all_pass(case_session: CaseSession, cases: Iterable[UnitCase]) -> None:
    for case in cases:
        if case_session.run(case).status != "pass":
            raise UsageError(
                f"{case.name} does not pass as it is, so it cannot notice a change",
                where=case.location,
                fix="run audiences test --unit first",
            )


def _mutants(case_session: CaseSession, model: Model, cases: list[UnitCase]) -> Iterator[Mutant]:
    notes = [note for case in cases for note in equivalences(case)]
    useful: set[Location] = set()
    for mutation in mutations(model.source_text, _parameter_types(case_session.project, model)):
        explanation = _noticing(case_session, model, mutation, cases)
        explaining = [note for note in notes if note.explains(model, mutation)]
        if explanation is not None:
            yield _mutant(model, mutation, *explanation)
        elif explaining:
            useful |= {note.location for note in explaining}
            yield _mutant(model, mutation, "equivalent", explaining[0].noted.reason)
        else:
            yield _mutant(model, mutation, "unnoticed", "")
    for note in notes:
        if note.location not in useful:
            # a reason that explains nothing would hide the next change of that line
            yield _stale(note)


def _stale(note: Equivalence) -> Mutant:
    path, line = note.location.path, note.location.line or 1
    return Mutant(path, line, 1, note.noted.change, (), "stale", note.noted.reason)


def _noticing(
    case_session: CaseSession, model: Model, mutation: Mutation, cases: list[UnitCase]
) -> tuple[Outcome, str] | None:
    """Which case notices a change first; None if all of them pass."""
    changed = replace(model, source_text=mutation.applied(model.source_text))
    for case in cases:
        try:
            if case_session.differences(case, changed):
                return "noticed", case.name
        except ConnectionLost:
            raise
        except DatabaseError as problem:
            is_refused = (problem.sqlstate or "").startswith(NOT_SQL)
            return ("refused", problem.what) if is_refused else ("noticed", case.name)
        except ProjectError as problem:
            return "refused", problem.what
    return None


def _mutant(model: Model, mutation: Mutation, outcome: Outcome, explanation: str) -> Mutant:
    source = model.source_text
    line, column = mutation.line_and_column(source)
    change = mutation.change(source)
    return Mutant(model.path, line, column, change, _diff(source, mutation), outcome, explanation)


def _diff(source: str, mutation: Mutation) -> tuple[str, ...]:
    """The lines that differ, as a diff shows them."""
    old, new = source.splitlines(), mutation.applied(source).splitlines()
    head = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    rest = min(len(old), len(new)) - head
    tail = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    removed, added = old[head : len(old) - tail], new[head : len(new) - tail]
    return (*(f"- {line}" for line in removed), *(f"+ {line}" for line in added if line.strip()))


def _parameter_types(project: Project, model: Model) -> dict[str, str]:
    audience = model_audience(project, model.name)
    return {one.name: one.type for one in audience.parameters} if audience else {}


def equivalences(case: UnitCase) -> Iterator[Equivalence]:
    """The notes under a case's `config: meta: equivalent_changes:`."""
    for number, noted in enumerate(case.test.config.meta.equivalent_changes):
        where = case.location_of("config", "meta", "equivalent_changes", number)
        yield Equivalence(noted, where)


def has_gap(mutants: Sequence[Mutant]) -> bool:
    """Whether a change went unnoticed that no note explains, or a note explains nothing."""
    return any(mutant.outcome in ("unnoticed", "stale") for mutant in mutants)


def mutants_json(mutants: Sequence[Mutant]) -> dict[str, Any]:
    return {
        "success": not has_gap(mutants),
        "counts": mutant_counts(mutants),
        "mutations": [mutant.as_json() for mutant in mutants],
    }


def mutant_counts(mutants: Sequence[Mutant]) -> dict[str, int]:
    counts = Counter(str(mutant.outcome) for mutant in mutants)
    made = {"made": len(mutants) - counts["stale"]}
    outcomes = ("noticed", "refused", "equivalent", "unnoticed", "stale")
    return made | {name: counts[name] for name in outcomes}
