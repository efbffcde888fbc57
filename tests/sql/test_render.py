"""From Jinja to SQL: every piece keeps its line, and what is wrong is named at its line."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ProjectError
from runner.project.nodes import Model, Project
from runner.project.parameters import CheckedParameters
from runner.sql.check import check_select
from runner.sql.render import RenderedModel, render
from runner.sql.source_map import MappedSql, joined
from runner.sql.tokens import UnclosedError, tokens
from tests.support import AS_OF, Database

PATH = Path("models/x.sql")


def rendered(
    source: str, defaults: Mapping[str, object] | None = None, **values: object
) -> RenderedModel:
    other = Model("other", Path("models/other.sql"), "select 1")
    model = Model("x", PATH, source)
    project = Project(Path(), {"x": model, "other": other}, {}, {}, ())
    parameters = CheckedParameters(values, AS_OF, None, defaults or {})  # type: ignore[arg-type]
    return render(project, model, parameters, lambda one: one.cte_name)  # type: ignore[union-attr]


def line_of(found: RenderedModel, piece: str, occurrence: int = 1) -> int | None:
    offset = -1
    for _ in range(occurrence):
        offset = found.sql.text.index(piece, offset + 1)
    location = found.sql.location_at(offset)
    return location.line if location else None


def test_lines_survive_loops_conditions_and_long_expressions() -> None:
    source = "\n".join(
        [
            "select",
            "{% for name in ['a', 'b'] -%}",
            "    {{ name }} as x_{{ name }},",
            "{% endfor %}",
            "{% if false %}",
            "never",
            "{% endif %}",
            "{{ var(",
            "    'hours'",
            ") }} as hours,",
            "{#- a comment",
            "-#}",
            "last",
        ]
    )
    found = rendered(source, hours=48)
    assert line_of(found, "a as x_a") == 3
    assert line_of(found, "x_b") == 3
    assert line_of(found, "48") == 8
    assert line_of(found, "as hours") == 10
    assert line_of(found, "last") == 13
    assert "\0" not in found.sql.text


@given(
    st.lists(
        st.sampled_from(["a", "{{ 1 }}", "{% for i in [1, 2] %}b", "{% endfor %}", "{# c #}", ""])
    )
)
def test_every_word_is_mapped_to_the_line_that_it_stands_on(lines: list[str]) -> None:
    depth = 0
    source = []
    for line in lines:
        depth += line.startswith("{% for")
        if line == "{% endfor %}":
            if not depth:
                continue
            depth -= 1
        source.append(
            line.replace("a", f"a{len(source) + 1}").replace("}b", f"}}b{len(source) + 1}")
        )
    source += ["{% endfor %}"] * depth
    found = rendered("\n".join(source)).sql
    for token in tokens(found.text):
        location = found.location_at(token.start)
        if token.kind == "word":
            assert location is not None
            assert location.line == int(token.value[1:])


def test_joined_pieces_keep_their_places() -> None:
    first, second = rendered("select 1").sql, rendered("\n\nselect 2").sql
    whole = joined("with a as (", first, ") ", second)
    assert whole.location_at(0) is None
    assert whole.location_at(whole.text.index("1")).line == 1  # type: ignore[union-attr]
    assert whole.location_at(whole.text.index("2")).line == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "place", "message"),
    [
        ("select 1\nfrom {{ ref('othr') }}", "2:14", "did you mean other"),
        ("select 1\nfrom {{ source('a', 'b') }}", "2:6", "no source table a.b"),
        ("\n\nselect {{ nothing }}", "3:11", "'nothing' is undefined"),
        ("select\n{% if %}", "2:1", "Jinja"),
        ("select\n{{ var('hous') }}", "2:9", "did you mean hours"),
        ("select\n{{ config(materialised='table') }}", "2:11", "not supported here"),
        ("select {{ ''.__class__ }}", "1:14", "unsafe"),
        ("select\n\n{{ 1 / 0 }}", "3:1", "division by zero"),
        ("{% for x in [1] %}\n{{ x.y.z }}{% endfor %}", "2:6", "no attribute"),
    ],
)
def test_jinja_errors_name_line_and_column(source: str, place: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message) as caught:
        rendered(source, hours=1)
    assert str(caught.value.where) == f"models/x.sql:{place}"


@pytest.mark.parametrize(
    ("source", "place", "message"),
    [
        ("select 1;\nselect 2", "1:9", "more than one statement"),
        ("select 1 -- ;\n;", "2:1", "more than one statement"),
        (
            "with d as (\n  delete from users returning id\n)\nselect * from d",
            "2:3",
            "contains delete",
        ),
        ("update users set id = 1", "1:1", "not one select"),
        ("select 1\ninto made", "2:1", "contains into"),
        ("select\nnow()", "2:1", "'now' is the server's clock"),
        ("select\nNOW ( )", "2:1", "clock"),
        ("select current_date", "1:8", "clock"),
        ("select 1,\n 'now'::timestamptz", "2:2", "clock"),
        ("select date 'today'", "1:13", "clock"),
        ("select clock_timestamp()", "1:8", "clock"),
        ("select 1,\n'unclosed", "2:1", "a quote is not closed"),
        ("select 1\n/* /* */", "2:1", "a comment is not closed"),
        ("select $a$ $b$", "1:8", "not closed"),
        ("-- nothing", "1:1", "not one select"),
        ("", "", "not one select"),
        ("select {{ var('text') }}", "1:8", "must be inside quotes"),
        ("select\n'a' || {{ var('text') }} || 'b'", "2:8", "must be inside quotes"),
    ],
)
def test_what_is_no_harmless_select_is_refused_at_its_line(
    source: str, place: str, message: str
) -> None:
    with pytest.raises(ProjectError, match=message) as caught:
        check_select(rendered(source, text="mens_size"))
    assert str(caught.value.where) == f"models/x.sql{place and f':{place}'}"


@pytest.mark.parametrize(
    "source",
    [
        "select 'not now', \"current_date\", now_at, age(a, b) from now",
        "select 1 -- delete; now()",
        "select /* ; /* nested ; */ delete */ 1",
        "select 'it''s; delete', E'\\'; delete', $$; delete now()$$, $x$;$x$",
        'select "update", deleted_at, updated_at from users',
        "select '{{ var('text') }}', 'x{{ var('text') }}y'",
        "with a as (select 1) select * from a",
    ],
)
def test_text_comments_and_names_are_not_taken_for_code(source: str) -> None:
    check_select(rendered(source, text="mens_size"))


@pytest.mark.parametrize(
    "expression",
    ["t | upper", "t ~ 'x'", "t | int", "t | replace('a', 'b')", "t | tojson", "t.upper()", "t[0]"],
)
def test_a_text_parameter_is_not_changed_by_a_template(expression: str) -> None:
    source = "select 1\n{{ " + expression.replace("t", "var('text')", 1) + " }}"
    with pytest.raises(ProjectError) as caught:
        rendered(source, text="mens_size")
    assert str(caught.value.where).startswith("models/x.sql:2:")


@pytest.mark.parametrize(
    ("expression", "is_true"),
    [
        ("t == 'a'", True), ("t != 'a'", False), ("t == 'b'", False), ("t != 'b'", True),
        ("t in ['a', 'b']", True), ("t not in ['a', 'b']", False), ("t", True), ("t is eq('a')", True),
        ("t is ne('a')", False), ("t | length == 1", True),
    ],
)  # fmt: skip
def test_a_text_parameter_compares_as_it_was_given(expression: str, is_true: bool) -> None:
    condition = expression.replace("t", "var('text')", 1)
    found = rendered("select {% if " + condition + " %}1{% else %}0{% endif %}", text="a")
    assert found.sql.text == f"select {int(is_true)}"


def test_quotes_in_a_text_parameter_are_doubled() -> None:
    found = rendered("select '{{ var('text') }}'", text="x' or 1=1 --")
    check_select(found)
    assert found.sql.text == "select 'x'' or 1=1 --'"


CODE = st.text(alphabet="ab1 '\"$;-/*\\\n.:(")


@given(CODE)
def test_tokens_are_in_order_and_end_where_the_text_ends(code: str) -> None:
    try:
        found = list(tokens(code))
    except UnclosedError as problem:
        assert 0 <= problem.offset < len(code)
        return
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(code[token.start : token.end].strip() for token in found)


@pytest.mark.parametrize(
    "literal",
    [r"'\'", r"E'\''", "'a''b'", "$$a'b$$", "$t$ $$ $t$", "U&'d\\0061'", "n'x'", "b'101'", "'--'"],
)
def test_postgresql_agrees_where_a_literal_ends(database: Database, literal: str) -> None:
    (first, *_) = tokens(literal)
    assert (first.kind, first.start, first.end) == ("text", 0, len(literal))
    database.execute(f"select {literal}")


def test_location_before_the_first_mark_is_unknown() -> None:
    assert MappedSql("select").location_at(0) is None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ var('other', 3) }}", "3"),
        ("'{{ var('other', 'a') }}'", "'a'"),
        ("{{ var('other', none) is none }}", "True"),
        ("{{ var('hours', 48) }}", "24"),
        ("{{ var('ratio', 1.5) }}", "0.25"),
        ("{{ var('ratio', 1.50) * 1.5 }}", "0.375"),
        ("{{ 2.5 - var('ratio') }} {{ var('ratio') ** 2 }}", "2.25 0.0625"),
        ("{{ var('is_on', true) }}", "False"),
        ("'{{ var('size', 'xl') }}'", "'o''b'"),
    ],
)
def test_a_default_of_var_is_used_where_the_parameter_is_not_declared(
    source: str, text: str
) -> None:
    assert rendered(source, DEFAULTS, **VALUES).sql.text == text


VALUES = {"hours": 24, "ratio": Decimal("0.25"), "is_on": False, "size": "o'b"}
DEFAULTS = {"hours": 48, "ratio": Decimal("1.5"), "is_on": True, "size": "xl"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ var('hours', 47) }}", "the default of 'hours' is 47 here, and 48 in the audience"),
        ("{{ var('hours', '48') }}", "the default of 'hours' is '48' here, and 48 in the audience"),
        ("{{ var('is_on', 1) }}", "the default of 'is_on' is 1 here, and true in the audience"),
        ("{{ var('ratio', none) }}", "the default of 'ratio' is none here, and 1.5 in"),
        ("{{ var('size', 'l') }}", "the default of 'size' is 'l' here, and 'xl' in the audience"),
    ],
)
def test_a_default_of_var_that_differs_from_the_declared_one_is_an_error(
    source: str, message: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        rendered(source, DEFAULTS, **VALUES)
    assert message in str(caught.value)
    assert "write var('" in str(caught.value)
