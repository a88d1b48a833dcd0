from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.compose.text import literal, needs_compose_v2, template
from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.interpolation import interpolate, reference_problem, references

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
        ("${NAME:+x}${EMPTY:+x}${MISSING:+x}", "x"),
        ("${NAME+x}${EMPTY+x}${MISSING+x}", "xx"),
        ("${EMPTY?needed}", ""),
        ("${MISSING:-${NAME}/x}", "world/x"),
        ("${MISSING:-${EMPTY:-c}}", "c"),
        ("${NAME:-${MISSING}}", "world"),
        ("${MISSING-${EMPTY-${NAME}}}/${NAME:+${NAME}-${MISSING:-y}}", "/world-y"),
        ("${MISSING:-a-b:-c?d+e}", "a-b:-c?d+e"),
        ('${MISSING:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("${MISSING:-$${NAME}$$}", "${NAME}$"),
        ("${MISSING:-$NAME}", "$NAME"),
        ("${NAME:-x}}", "world}"),
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


def test_a_message_is_shown_as_it_is_written() -> None:
    """A value in it could be a secret, and an error must not carry one."""
    with pytest.raises(RenderError) as caught:
        interpolate("${MISSING:?unlike ${NAME}}", VALUES, where="here")
    assert caught.value.why == "unlike ${NAME}"


def test_names_in_defaults_and_texts_are_references_too() -> None:
    assert references("${A:-${B:+${C}}}-${D:?needs ${E}}$${F}") == ["A", "B", "C", "D"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${A:-${B}", "'${A:-' isn't closed by a '}'; '$$' is a dollar sign"),
        ("${A:-x ${B:+{}}", "'${A:-' isn't closed by a '}'; '$$' is a dollar sign"),
        ("${A:-x\ny}", "'${A:-' has a line break before its '}'"),
        ("${A:-$${B}", "'${A:-' isn't closed by a '}'; '$$' is a dollar sign"),
    ],
)
def test_references_that_compose_would_misread(text: str, problem: str) -> None:
    assert reference_problem(text) == problem


@pytest.mark.parametrize("text", ["", "$", "$$", "${A%x}", "$${A:-", "${1}", "${A:-{}}", "$$$"])
def test_other_texts_have_no_problem(text: str) -> None:
    assert reference_problem(text) is None


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("${A:-b}${A?c}", False),
        ("$${A:+b}", False),
        ("${A:+b}", True),
        ("${A:-${B}}", True),
    ],
)
def test_what_compose_1_can_not_read(text: str, needed: bool) -> None:
    assert needs_compose_v2(text) is needed


nested = st.recursive(
    st.sampled_from(["x", "$", "$$", "/", "-", "+", "?", "{}", "${A}", "${EMPTY}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.builds(
            lambda name, operator, word: f"${{{name}{operator}{word}}}",
            st.sampled_from(["NAME", "EMPTY", "MISSING"]),
            st.sampled_from([":-", "-", ":+", "+"]),
            inner,
        ),
    ),
    max_leaves=8,
)


@given(nested)
def test_nested_templates_mean_in_compose_what_they_mean_here(text: str) -> None:
    values = VALUES | {"A": "$a}"}
    assert reference_problem(text) is None
    assert interpolate(template(text), values, where="x") == interpolate(text, values, where="x")
    assert references(template(text)) == references(text)


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
