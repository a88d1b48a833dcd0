"""Specifications: what is shown, what is hidden, what is equal."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.stacks.spec import (
    ContainerSpec,
    DependencySpec,
    ImageSource,
    PortBinding,
    ServiceSpec,
    config_hash,
    digest,
)


def public(spec: ContainerSpec, *secret: str, key: bytes = b"k") -> dict[str, object]:
    return spec.public(secret_variables=frozenset(secret), key=key)


def test_secret_variables_show_as_digests_that_change_with_value_and_key() -> None:
    one, two = (
        ContainerSpec(image="a:1", environment={"P": value, "Q": "open"}) for value in ("x1", "x2")
    )
    shown = public(one, "P")
    assert shown["environment"] == {"P": digest("x1", b"k"), "Q": "open"}
    assert "x1" not in json.dumps(shown)
    assert public(two, "P") != shown
    assert public(one, "P", key=b"other") != shown


def test_defaults_stay_out_of_the_public_specification() -> None:
    shown = public(ContainerSpec(image="a:1"))
    assert shown == {"image": "a:1", "restart": "unless-stopped", "stop_grace_period": 10.0}


def test_the_public_specification_survives_json() -> None:
    spec = ContainerSpec(image="a:1", ports=(PortBinding(80, 8080, "127.0.0.1"),), command=("x",))
    shown = public(spec)
    assert json.loads(json.dumps(shown)) == shown


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1))
def test_the_hash_looks_at_content_not_at_order(environment: dict[str, str]) -> None:
    backwards = dict(reversed(environment.items()))
    first = public(ContainerSpec(image="a:1", environment=environment))
    second = public(ContainerSpec(image="a:1", environment=backwards))
    assert config_hash(first) == config_hash(second)
    changed = {**environment, next(iter(environment)): environment[next(iter(environment))] + "!"}
    third = public(ContainerSpec(image="a:1", environment=changed))
    assert config_hash(third) != config_hash(first)


def test_compose_label_names_dependencies_of_the_own_stack() -> None:
    service = ServiceSpec(
        name="b",
        stack="core",
        project="p",
        image=ImageSource("a:1", "V"),
        replicas=(),
        depends_on=(
            DependencySpec("a", "core", "healthy", restart=True),
            DependencySpec("job", "core", "completed"),
            DependencySpec("c", "core", "started"),
            DependencySpec("far", "other", "healthy"),
        ),
    )
    assert service.depends_on_label == (
        "a:service_healthy:true,job:service_completed_successfully:false,c:service_started:false"
    )
