"""Any text is a schema or a list of problems with places: never a crash."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.document import dotted, parse_document
from mmstack_ops.domain.schema.parse import parse_schema
from tests.domain.test_schema_rules import VALID
from tests.profiles import examples

FILE = Path(__file__).resolve().parents[2] / "schemas" / "compose-schema.yaml"
PLACE = re.compile(r"^s\.yaml:\d+: ")


def problems_of(text: str) -> tuple[str, ...]:
    try:
        parse_schema(text, source="s.yaml")
    except SchemaError as error:
        return error.problems
    return ()


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    problems = problems_of(text)
    assert problems
    assert all(PLACE.match(problem) for problem in problems), problems


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats())
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["config", "services", "stacks", "a"]), scalars),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=15,
)


@given(documents)
def test_any_yaml(document: object) -> None:
    problems = problems_of(yaml.safe_dump(document))
    assert problems
    assert all(PLACE.match(problem) for problem in problems), problems


@given(st.data())
@settings(max_examples=examples(150))
def test_a_value_of_the_wrong_kind_anywhere(data: st.DataObject) -> None:
    document = yaml.safe_load(VALID)
    node, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
    node[key] = data.draw(scalars)
    assert all(PLACE.match(p) for p in problems_of(yaml.safe_dump(document, sort_keys=False)))


def test_every_key_knows_its_line() -> None:
    text = FILE.read_text(encoding="utf-8")
    document = parse_document(text, source="s.yaml")
    lines = text.split("\n")
    for path, line in document.lines.items():
        if path and isinstance(path[-1], str):
            assert path[-1] in lines[line - 1], dotted(path)


def test_place_falls_back_to_the_nearest_ancestor() -> None:
    document = parse_document("a:\n  b: 1\n", source="s.yaml")
    assert document.place(("a", "b")) == "s.yaml:2"
    assert document.place(("a", "c", 0)) == "s.yaml:1"
    assert dotted(("a", 0, "b", 1)) == "a[0].b[1]"
