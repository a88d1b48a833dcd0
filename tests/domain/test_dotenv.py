"""What `quote` writes, python-dotenv reads back, byte for byte."""

from __future__ import annotations

import io

import dotenv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmstack_ops.domain.environment.dotenv import (
    assignment,
    parse_assignment,
    quote,
    value_problem,
    with_values,
)

SPECIAL = "$#\"'\\{}`!& \t=;%~*?<>|()[]é→"
values = st.one_of(
    st.text(alphabet=SPECIAL, max_size=20),
    st.text(max_size=40),
    st.from_regex(r"[A-Za-z0-9]{1,20}", fullmatch=True),
)


@given(values)
@example("p$a#s\"s'w")
@example("a\\nb")
@example("' ' '")
@example(" both ends ")
def test_value_is_read_back_or_refused(value: str) -> None:
    problem = value_problem(value)
    if problem is not None:
        assert value.strip() == "" or value not in problem
        with pytest.raises(ValueError, match="it "):
            quote(value)
        return
    line = assignment("NAME", value)
    assert "\n" not in line
    assert parse_assignment(line) == ("NAME", value)
    read = dotenv.dotenv_values(stream=io.StringIO(f"A='1'\n{line}\nB='2'\n"))
    assert read == {"A": "1", "NAME": value, "B": "2"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\nb", "it holds a line break"),
        ("a\rb", "it holds a line break"),
        ("a\0b", "it holds a control character"),
        ("a\x1bb", "it holds a control character"),
        ("a\x7fb", "it holds a control character"),
        ("a\x80b", "it holds a control character"),
        ("a\x85b", "it holds a control character"),
        ("a\x9f", "it holds a control character"),
        ("a\u2028b", "it holds a line separator or a byte order mark of Unicode"),
        ("a\u2029b", "it holds a line separator or a byte order mark of Unicode"),
        ("\ufeffa", "it holds a line separator or a byte order mark of Unicode"),
        ("a\\", "it ends with a backslash"),
        ("a\\\\b", "it holds a backslash before a backslash or a single quote"),
        ("a\\'b", "it holds a backslash before a backslash or a single quote"),
        ("${HOME}", "it holds ${…}, which some readers replace even inside quotes"),
        ("\ud800", "it holds a character that UTF-8 can't write"),
    ],
)
def test_what_cannot_survive_is_refused_with_the_reason(value: str, reason: str) -> None:
    assert value_problem(value) == reason


@pytest.mark.parametrize("value", ["$HOME", "a # b", 'say "hi"', "it's", "C:\\dir", "$", "", "{}"])
def test_what_survives(value: str) -> None:
    assert value_problem(value) is None
    assert parse_assignment(assignment("X", value)) == ("X", value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no assignment", "it is not of the form NAME='value'"),
        ("1A=x", "it is not of the form NAME='value'"),
        ("export A=x", "it is not of the form NAME='value'"),
        ("A=two words", "the value of A needs single quotes around all of it"),
        ("A='open", "the value of A needs single quotes around all of it"),
        ("A='x' # comment", "the value of A needs single quotes around all of it"),
        ("A=http://'host'/x", "the value of A needs single quotes around all of it"),
        ("A='a\\\\b'", "the value of A can't be used: it holds a backslash before a backslash"
         " or a single quote"),
    ],
)  # fmt: skip
def test_lines_that_are_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^it |^the ") as caught:
        parse_assignment(line)
    assert str(caught.value) == message


@pytest.mark.parametrize("line", ["", "   ", "# comment", "  # A='x'"])
def test_lines_without_an_assignment(line: str) -> None:
    assert parse_assignment(line) is None


@pytest.mark.parametrize(
    "value", ["", "5432", "http://a.b:80/x?y".replace("?y", ""), "a_b-c+d@e%f"]
)
def test_bare_values(value: str) -> None:
    assert parse_assignment(f"  A={value}  ") == ("A", value)


@given(st.text(max_size=30))
def test_any_line_is_read_or_refused_without_its_value(line: str) -> None:
    message = ""
    try:
        parse_assignment(line)
    except ValueError as error:
        message = str(error)
    value = line.partition("=")[2].strip()
    assert len(value) < 8 or value not in message


def test_with_values_replaces_in_place() -> None:
    lines = ["# head", "A='1'", "", "B=2"]
    assert with_values(lines, {"B": "it's", "C": "3"}) == ["# head", "A='1'", "", "B='it\\'s'"]
