from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.cron import cron_problem

NO_ITEM = "is not a number, a name, a range, a list or '*'"
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@st.composite
def valid_field(draw: st.DrawFn, low: int, high: int) -> str:
    def item() -> str:
        first = draw(st.integers(low, high - 1))
        last = draw(st.integers(first + 1, high))
        span = draw(st.sampled_from(["*", str(first), f"{first}-{last}"]))
        step = draw(st.sampled_from(["", "/1", "/5"]))
        return span + step

    return ",".join(item() for _ in range(draw(st.integers(1, 3))))


@given(st.data())
def test_valid_expressions(data: st.DataObject) -> None:
    fields = [data.draw(valid_field(low, high)) for low, high in _LIMITS]
    fields[2] = data.draw(valid_field(1, 28))
    assert cron_problem(" ".join(fields)) is None


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 30 2 *",
        "0 0 30,31 feb *",
        "0 0 31 4,6,9,11 *",
        "0 0 31 4-6/2 *",
        # Dagster's scheduler fails at the day of the month, whatever the day of the week.
        "0 0 30 2 1",
    ],
)
def test_a_day_that_no_month_has_never_comes(expression: str) -> None:
    assert cron_problem(expression) == (
        f"{expression!r} never fires: no month it names has such a day"
    )


@pytest.mark.parametrize(
    "expression",
    ["0 0 29 2 *", "0 0 31 * *", "0 0 31 2,3 *", "0 0 28-31 2 *", "0 0 */15 2 *", "0 0 31 */2 *"],
)
def test_a_day_that_some_month_has_is_fine(expression: str) -> None:
    assert cron_problem(expression) is None


@given(st.data())
def test_one_number_out_of_range(data: st.DataObject) -> None:
    fields = ["*"] * 5
    index = data.draw(st.integers(0, 4))
    low, high = _LIMITS[index]
    fields[index] = str(data.draw(st.integers(high + 1, 999)))
    problem = cron_problem(" ".join(fields))
    assert problem is not None
    assert problem.endswith(f"is outside {low}-{high}")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "'* * * *' has 4 fields; a cron expression has five"),
        ("@daily", "'@daily' has 1 fields; a cron expression has five"),
        ("0 0 * * * *", "'0 0 * * * *' has 6 fields; a cron expression has five"),
        ("a * * * *", "'a * * * *': minute 'a' is not a number, a name, a range, a list or '*'"),
        ("*/0 * * * *", "'*/0 * * * *': minute '*/0' has a step that is not a positive number"),
        ("0 5-2 * * *", "'0 5-2 * * *': hour '5-2' is a range that runs backwards"),
        ("0 0 0 * *", "'0 0 0 * *': day of month '0' is outside 1-31"),
        ("0 0 * foo *", f"'0 0 * foo *': month 'foo' {NO_ITEM}"),
        ("0 0 L * *", f"'0 0 L * *': day of month 'L' {NO_ITEM}"),
        ("0 5-5 * * *", "'0 5-5 * * *': hour '5-5' is a range of one: write 5"),
        ("0 5-5/2 * * *", "'0 5-5/2 * * *': hour '5-5/2' is a range of one: write 5"),
        ("59/1 3 * * *", "'59/1 3 * * *': minute '59/1' is a range of one: write 59"),
        ("0, * * * *", f"'0, * * * *': minute '' {NO_ITEM}"),
    ],
)  # fmt: skip
def test_what_is_wrong(expression: str, message: str) -> None:
    assert cron_problem(expression) == message


@pytest.mark.parametrize("expression", ["\u00b2 * * * *", "*/\u00b2 * * * *", "\u0663 * * * *"])
def test_digits_of_other_scripts_are_refused(expression: str) -> None:
    assert cron_problem(expression) is not None


@pytest.mark.parametrize("expression", ["0 3 * jan-MAR mon", "*/5 0,12 1-7/2 * 7"])
def test_names_lists_and_steps(expression: str) -> None:
    assert cron_problem(expression) is None


@given(st.text(alphabet="0123456789*/,-abc\u00b2 ", max_size=20))
def test_any_text_gets_an_answer(text: str) -> None:
    problem = cron_problem(text)
    assert problem is None or repr(text) in problem
