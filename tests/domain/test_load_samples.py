"""Figures from JMeter's samples."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.load.samples import Sample, figures, parse_samples, percentile

HEADER = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,success,bytes,failureMessage"
)


def test_samples_are_read_with_their_errors() -> None:
    ok, failed, asserted = parse_samples(
        [
            HEADER,
            '1000,12,"a, b",200,OK,users 1-1,true,10,',
            "1010,7,login,503,Service Unavailable,users 1-1,false,3,",
            "1020,7,login,200,OK,users 1-1,false,3,expected to contain x",
        ]
    )
    assert ok == Sample("a, b", 1000, 12, success=True)
    assert failed.message == "503 Service Unavailable"
    assert asserted.message == "expected to contain x"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "elapsed"),
        (["1000,12,login,200,OK,users 1-1,true,10,"], "header|lacks"),
        ([HEADER, "1000,12,login,200,OK,u,true,1,", "1000,1"], "line 3"),
        ([HEADER, "1000,soon,login,200,OK,u,true,1,"], "line 2"),
    ],
)
def test_a_file_that_is_none_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_samples(lines)


def test_each_label_has_a_row_and_the_total_is_last() -> None:
    samples = [Sample("b", 0, 100, success=True), Sample("a", 900, 100, success=False, message="x")]
    first, second, total = figures(samples)
    assert (first.label, first.errors, first.first_error) == ("a", 1, "x")
    assert (second.label, second.errors, second.p99) == ("b", 0, 100)
    assert (total.label, total.samples, total.errors, total.per_second) == ("total", 2, 1, 2.0)


def test_no_samples_have_no_figures() -> None:
    assert figures([]) == ()


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_percentiles_are_nearest_ranks(times: list[int], percent: int) -> None:
    ordered = sorted(times)
    value = percentile(ordered, percent)
    assert value in times
    assert sum(one <= value for one in ordered) >= len(ordered) * percent / 100
    assert sum(one < value for one in ordered) < len(ordered) * percent / 100
    assert percentile(ordered, 50) == statistics.median_low(ordered)
