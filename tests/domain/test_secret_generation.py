from __future__ import annotations

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.environment.dotenv import value_problem
from mmstack_ops.domain.schema.policies import GeneratedSecret
from mmstack_ops.domain.secrets.generate import missing_names, new_value
from mmstack_ops.domain.secrets.values import EnvironmentValues, secret_variable_names

KINDS = {
    "password": string.ascii_letters + string.digits,
    "hex": string.hexdigits.lower()[:16],
    "urlsafe": string.ascii_letters + string.digits + "-_",
    "key": string.ascii_letters + string.digits + "+/=",
}


@given(st.sampled_from(sorted(KINDS)), st.integers(16, 128))
def test_values_carry_the_randomness_asked_for(kind: str, count: int) -> None:
    secret = GeneratedSecret.model_validate(
        {"description": "x", "kind": kind, "bytes": count, "prefix": "sk-"}
    )
    value = new_value(secret)
    assert value.startswith("sk-")
    body = value.removeprefix("sk-")
    assert set(body) <= set(KINDS[kind])
    symbols = 64 if kind in ("urlsafe", "key") else len(KINDS[kind])
    assert len(body.rstrip("=")) * math.log2(symbols) >= count * 8
    assert value_problem(value) is None
    assert new_value(secret) != value


@pytest.mark.parametrize("count", [1, 15])
def test_less_than_128_bits_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="is out of range: 16 to 128"):
        GeneratedSecret.model_validate({"description": "x", "bytes": count})


def test_missing_names_keep_the_order_of_the_schema() -> None:
    assert missing_names({"c": 1, "a": 1, "b": 1}, ["a", "gone"]) == ("c", "b")


def test_variables_that_contain_a_secret_are_known() -> None:
    variables = {"URL": "x://me:hunter22@h", "USER": "me", "EMPTY": ""}
    assert secret_variable_names(variables, {"password": "hunter22", "none": ""}) == {"URL"}


def test_values_never_print_what_they_hold() -> None:
    values = EnvironmentValues(
        variables={"URL": "hunter22"},
        secret_variables=frozenset({"URL"}),
        secrets={"password": "hunter22"},
        digest_key=b"hunter22",
        secret_directory="/s",
    )
    assert "hunter22" not in repr(values)
    assert values.is_secret("a ${URL}")
    assert not values.is_secret("a ${OTHER} URL")
