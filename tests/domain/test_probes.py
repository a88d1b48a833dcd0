"""Probes in the schema: what is refused, and which values are right."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.probes import METHODS, TYPES, HttpProbe, Probe, SqlProbe, value_at
from tests.domain.schema_mistakes import DATABASE, VALID

QUERY = "kind: sql, query: SELECT 1"


def problems_of(*probes: str, types: str = "full") -> str:
    head = f"types: [{types}]\n      method: postgres"
    lines = "".join(f"        - {probe}\n" for probe in probes)
    own = f"    backup:\n      {head}\n      probes:\n{lines}"
    try:
        parse_schema(VALID.replace(DATABASE, f"{DATABASE}{own}"), source="schema.yaml")
    except SchemaError as error:
        return "\n".join(error.problems)
    return ""


def test_a_probe_that_can_run_is_accepted() -> None:
    assert (
        problems_of(f"{{name: a, {QUERY}, min: 1}}", "{name: b, kind: http, port: sql, path: /}")
        == ""
    )


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (f"{{name: a, {QUERY}}}", "a query needs one of 'min', 'max', 'equals'"),
        (f"{{name: a, {QUERY}, min: 2, max: 1}}", "'min' is larger than 'max'"),
        (f"{{name: a, {QUERY}, min: .nan}}", "out of range"),
        ('{name: a, kind: sql, query: "select 1 \\0 where false", min: 1}', "query"),
        (f'{{name: a, {QUERY}, min: 1, database: "a\\0b"}}', "database"),
        ("{name: a, kind: sql, query: DROP TABLE t, min: 1}", "a query begins with SELECT"),
        ("{name: a, kind: redis, key: k}", "backup method is 'redis', not 'postgres'"),
        ("{name: a, kind: redis, key: k, database: -1}", "out of range"),
        (
            "{name: a, kind: sqlite, path: /data/a, query: SELECT 1, min: 1}",
            "'sqlite' or 'volumes'",
        ),
        ("{name: a, kind: http, path: /}", "no TCP port called 'http': sql"),
        ("{name: a, kind: http, port: sql, path: x}", "does not match ^/"),
        ("{name: a, kind: http, port: sql, path: /, min: 1}", "'json_path' goes with"),
        ("{name: a, kind: http, port: sql, path: /, json_path: a}", "'json_path' goes with"),
        ("{name: a, kind: http, port: sql, path: /, json_path: a., min: 1}", "does not match"),
        ("{name: a, kind: n8n_credentials}", "there is no secret 'n8n_encryption_key'"),
        ("{name: a, kind: n8n_credentials, table: 'a; drop'}", "does not match"),
        ("{name: a, kind: shell, command: rm}", "shell"),
        (f"{{name: a, {QUERY}, min: 1, max_rows: 3}}", "max_rows"),
    ],
)
def test_a_probe_that_cant_be_meant_is_refused(probe: str, message: str) -> None:
    assert message in problems_of(probe)


def test_a_probe_is_called_once_and_runs_at_all() -> None:
    probe = f"{{name: a, {QUERY}, min: 1}}"
    assert "a second probe called 'a'" in problems_of(probe, probe)
    assert "it never runs" in problems_of(probe, types="schema")


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"kind": "vectors", "collection": "c"}, "either 'vector' or 'point'"),
        ({"kind": "vectors", "collection": "c", "vector": [1], "point": 1}, "either"),
        ({"kind": "vectors", "collection": "c", "vector": []}, "at least 1 item"),
        ({"kind": "object", "bucket": "b", "key": "k", "sha256": "12"}, "pattern"),
    ],
)
def test_a_probe_says_what_it_looks_for(probe: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TypeAdapter(Probe).validate_python({"name": "a", **probe})


def test_every_kind_has_types_it_runs_for() -> None:
    kinds = {"sql", "sqlite", "redis", "vectors", "object", "http", "n8n_credentials"}
    assert set(TYPES) == kinds
    assert set(METHODS) == kinds - {"http"}


def sql(**expected: Any) -> SqlProbe:
    return SqlProbe(name="a", kind="sql", query="SELECT 1", **expected)


@pytest.mark.parametrize(
    ("expected", "value", "wrong"),
    [
        ({"min": 1}, 1, ""),
        ({"min": 1}, 0, "0 is less than 1"),
        ({"max": 2}, Decimal("2.5"), "2.5 is more than 2"),
        ({"min": 1}, True, ""),
        ({"min": 1}, None, "there is no value"),
        ({"min": 1}, "a secret", "it isn't a number"),
        ({"max": 1}, float("nan"), "it isn't a number"),
        ({"equals": "ok"}, "ok", ""),
        ({"equals": "ok"}, "a secret", "it isn't the text that 'equals' wants"),
        ({"equals": "3"}, 3, ""),
        ({"equals": "true"}, True, ""),
    ],
)
def test_a_value_is_right_or_it_is_said_why_not(
    expected: dict[str, Any], value: object, wrong: str
) -> None:
    assert sql(**expected).wrong(value) == wrong


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(-100, 100))
def test_a_range_includes_its_ends(least: int, most: int, value: int) -> None:
    least, most = min(least, most), max(least, most)
    assert (sql(min=least, max=most).wrong(value) == "") is (least <= value <= most)


def test_a_json_path_leads_through_objects_and_lists() -> None:
    document = {"data": {"rows": [{"n": 1}, {"n": 7}]}}
    assert value_at(document, "data.rows[1].n") == 7
    for nowhere in ("data.none", "data.rows[2]", "data.rows.n", "data[0]"):
        with pytest.raises(LookupError):
            value_at(document, nowhere)


def test_a_request_without_a_json_path_expects_its_status() -> None:
    probe = HttpProbe(name="a", kind="http", path="/")
    assert (probe.status, probe.expects) == (200, False)
