"""Numbers that can't be meant are refused, with their place and the range that is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema import ranges
from mmstack_ops.domain.schema.base import SchemaModel
from mmstack_ops.domain.schema.document import Path, parse_document
from mmstack_ops.domain.schema.json_schema import json_schema
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.root import Schema
from mmstack_ops.domain.units import parse_duration
from tests.domain.odd_values import ODD
from tests.domain.schema_mistakes import SITE, VALID

_HEALTH = {"test": ["CMD", "true"]}


def changed(place: str) -> tuple[str, Path, str]:
    """Return the text of the schema with one odd value, its path, and what must be said of it."""
    below, value, message = ODD[place]
    document = yaml.safe_load(VALID)
    path = _parts(place.partition("#")[0])
    inside = _parts(below)
    if below and not below.startswith("["):
        # The value stands below the place.
        path, inside = path + inside, ()
    holder = document
    for part in path[:-1]:
        holder = holder.setdefault(part, dict(_HEALTH) if part == "healthcheck" else {})
    holder[path[-1]] = value
    return yaml.safe_dump(document, sort_keys=False), (*path, *inside), message


def _parts(text: str) -> Path:
    found = re.findall(r"\[(\d+)\]|([^.\[\]]+)", text)
    return tuple(int(index) if index else name for index, name in found)


@pytest.mark.parametrize("place", ODD)
def test_an_odd_value_is_refused_at_its_place_with_its_range(place: str) -> None:
    text, path, message = changed(place)
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, source="schema.yaml")
    assert caught.value.exit_code == 2
    document = parse_document(text, source="schema.yaml")
    where = document.place(path)
    found = [problem for problem in caught.value.problems if message in problem]
    assert len(found) == 1, caught.value.problems
    assert found[0].startswith(f"{where}: "), (where, found)


def test_there_are_enough_of_them() -> None:
    assert len(ODD) >= 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("default: 7d}", "default: 1:30}", "YAML reads 1:30 as a number to the base of 60"),
        ("host: 6379}", "host: 10:22}", "YAML reads 10:22 as a number to the base of 60"),
        ("host: 6379}", "host: 06377}", "YAML reads 06377 to another base than ten"),
        ("host: 6379}", "host: 0x18eb}", "YAML reads 0x18eb to another base than ten"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(VALID.replace(old, new), source="schema.yaml")
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_an_offset_may_not_lead_past_the_last_port() -> None:
    text = VALID.replace("    main:\n", "    main:\n      port_offset: 50000\n")
    text = text.replace("host: 6379}", "host: 16379}")
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, source="schema.yaml")
    (problem,) = caught.value.problems
    assert problem.endswith(
        "services.cache.ports[0].host: with the port offset 50000 in development this is host port"
        " 66379: the last is 65535"
    )


def test_a_subnet_has_room_for_its_containers() -> None:
    text = VALID.replace("10.2.0.0/24", "10.2.0.0/29")
    assert parse_schema(text.replace(SITE, SITE + "    replicas: 5\n"), source="schema.yaml")
    with pytest.raises(SchemaError) as caught:
        parse_schema(text.replace(SITE, SITE + "    replicas: 6\n"), source="schema.yaml")
    (problem,) = caught.value.problems
    assert problem.endswith(
        "config.address_plans.main.subnets.web: 10.2.0.0/29 has room for 5 containers; 6 of"
        " development are on this network"
    )


@pytest.mark.parametrize("age", ["1h", "36500d", "876000h", 3600, 3600.0, "3600s", "5214w"])
def test_ages_at_the_ends_of_their_range_are_fine(age: object) -> None:
    assert TypeAdapter(ranges.Age).validate_python(age) >= 3600


def test_the_longest_age_is_a_hundred_years_and_says_so() -> None:
    assert parse_duration("36500d") == 100 * 365 * 86400
    with pytest.raises(ValueError, match=r"1h to 36500d \(100 years\)"):
        TypeAdapter(ranges.Age).validate_python("36501d")


def models(of: type[SchemaModel]) -> Iterator[type[SchemaModel]]:
    """Yield a model and all that it is made of."""
    yield of
    for field in of.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            one = waiting.pop()
            if isinstance(one, type) and issubclass(one, SchemaModel):
                yield from models(one)
            waiting += get_args(one)


def numbers(model: type[SchemaModel]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a model that hold a number somewhere, with their annotations."""
    for name, field in model.model_fields.items():
        waiting: list[Any] = [(field.annotation, tuple(field.metadata))]
        while waiting:
            one, metadata = waiting.pop()
            if one in (int, float):
                yield name, metadata
            elif hasattr(one, "__metadata__"):
                waiting.append((get_args(one)[0], one.__metadata__))
            else:
                waiting += [(inner, ()) for inner in get_args(one) if not isinstance(inner, str)]


def test_no_number_of_the_schema_is_without_a_range() -> None:
    kinds = (ranges.Number, ranges.Seconds, ranges.Bytes)
    found = {
        (model.__name__, name): metadata
        for model in models(Schema)
        for name, metadata in numbers(model)
    }
    assert len(found) >= 50
    unlimited = [
        name
        for name, metadata in found.items()
        if not any(isinstance(one, kinds) for one in metadata)
    ]
    assert unlimited == []


def test_defaults_are_in_their_ranges() -> None:
    for model in set(models(Schema)):
        for name, field in model.model_fields.items():
            if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                checked = TypeAdapter(_annotated(field))
                assert checked.validate_python(field.default) == field.default, (model, name)


def _annotated(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("backup.compression_level", 20),
        ("backup.verify_share", 10),
        ("backup.max_age", 0),
        ("backup.drills", 0),
        ("retention.runs", -1),
        ("environments.development.retention.default", 400000 * 86400),
        ("backup.tiers.local.quota", -1),
        ("services.site.replicas", 101),
    ],
)
def test_the_json_schema_has_the_ranges(place: str, value: object) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    document = yaml.safe_load(VALID)
    assert list(validator.iter_errors(document)) == []
    holder = document
    *above, last = place.split(".")
    for part in above:
        holder = holder.setdefault(part, {})
    holder[last] = value
    (error,) = validator.iter_errors(document)
    assert ".".join(map(str, error.absolute_path)) == place


def test_the_json_schema_says_the_range_of_a_duration() -> None:
    described = json_schema()["$defs"]["Tier"]["properties"]["retention"]["description"]
    assert described.startswith("How much older than the newest")
    assert "from 1h to 36500d" in described


@given(st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.booleans(), st.none()))
def test_an_age_is_in_its_range_or_refused(value: object) -> None:
    try:
        found = TypeAdapter(ranges.Age).validate_python(value)
    except ValueError:
        return
    assert 3600 <= found <= 36500 * 86400
