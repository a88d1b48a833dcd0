from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.compose.text import literal, template
from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.interpolation import interpolate, references

VALUES = {"NAME": "world", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("hello ${NAME}", "hello world"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${MISSING:-x}", "x"),
        ("${MISSING-}", ""),
        ("$$NAME $${NAME}", "$NAME ${NAME}"),
        ("$NAME $(date) $", "$NAME $(date) $"),
        ("${EMPTY}", ""),
        ("${NAME:?needed}", "world"),
    ],
)
def test_references(text: str, result: str) -> None:
    assert interpolate(text, VALUES, where="here") == result


def test_unknown_variable_says_where_and_suggests() -> None:
    with pytest.raises(RenderError, match="service web refers to the variable NAMEE") as caught:
        interpolate("${NAMEE}", VALUES, where="service web")
    assert "did you mean 'NAME'?" in str(caught.value)


@pytest.mark.parametrize("text", ["${MISSING:?set it}", "${MISSING?set it}", "${EMPTY:?set it}"])
def test_required_variable_gives_its_message(text: str) -> None:
    with pytest.raises(RenderError) as caught:
        interpolate(text, VALUES, where="here")
    assert caught.value.why == "set it"


@given(st.text())
def test_texts_without_a_dollar_stay(text: str) -> None:
    plain = text.replace("$", "")
    assert interpolate(plain, {}, where="here") == plain
    assert references(plain) == []


@given(st.text(alphabet="$aA{}-:"))
def test_escaped_text_comes_back(text: str) -> None:
    assert interpolate(literal(text), {}, where="here") == text


@given(st.text(alphabet="$NAME{}() x"))
def test_compose_template_means_what_the_schema_means(text: str) -> None:
    """Doubling lone dollar signs changes nothing for us, and keeps every reference."""
    values = {name: f"<{name}>" for name in references(text)}
    assert interpolate(template(text), values, where="x") == interpolate(text, values, where="x")
    assert references(template(text)) == references(text)


@given(st.text(alphabet="$NAME{}"), st.text(alphabet="${}NAME"))
def test_a_value_is_not_interpolated_again(text: str, value: str) -> None:
    assert interpolate("a${NAME}b", {"NAME": value}, where="here") == f"a{value}b"
