"""Networks that run against those that are declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.networks.validate import NetworkState, validate_networks
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.observed import ObservedContainer, ObservedNetwork, ObservedState
from tests.domain.networks.running import container

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return open_project(REPOSITORY).catalogue("development")


def network(catalogue: Catalogue, stack: str, *members: str) -> ObservedNetwork:
    entry = catalogue.networks[stack]
    marks = {
        labels.OWNER: catalogue.schema.config.project,
        labels.ENVIRONMENT: catalogue.environment,
    }
    return ObservedNetwork(
        f"{stack}-id", entry.name, (entry.subnet,), marks, members=frozenset(members)
    )


def core(
    catalogue: Catalogue, networks: list[ObservedNetwork], containers: list[ObservedContainer]
) -> NetworkState:
    state = ObservedState("engine", tuple(containers), tuple(networks), (), {})
    (found,) = [one for one in validate_networks(catalogue, state) if one.stack == "core"]
    return found


def test_what_isnt_up_is_absent_and_fine(catalogue: Catalogue) -> None:
    found = core(catalogue, [], [])
    assert found.verdict == "absent"
    assert not found.problems


def test_what_is_as_declared_is_ok(catalogue: Catalogue) -> None:
    running = [container(catalogue, "postgres", "core")]
    found = core(catalogue, [network(catalogue, "core", "postgres-id")], running)
    assert (found.verdict, found.used, found.size) == ("ok", 2, 254)


def test_another_subnet_or_owner_is_drift(catalogue: Catalogue) -> None:
    own = network(catalogue, "core")
    found = core(catalogue, [replace(own, subnets=("10.9.0.0/24",))], [])
    assert found.problems == (f"it has 10.9.0.0/24, declared is {own.subnets[0]}",)
    found = core(catalogue, [replace(own, labels={})], [])
    assert found.problems == ("the network of this name isn't this environment's",)


def test_who_is_where_they_shouldnt_be_is_named(catalogue: Catalogue) -> None:
    here = [
        container(catalogue, "postgres"),
        container(catalogue, "openwebui", "core"),
        container(catalogue, "litellm", "core"),
    ]
    on_it = network(catalogue, "core", "openwebui-id", "litellm-id", "stranger")
    assert core(catalogue, [on_it], here).problems == (
        "postgres-1 isn't on it: others can't reach it there",
        "openwebui-1 is on it, which nothing declares",
        "1 containers that aren't this environment's are on it",
    )


def test_a_network_that_is_nearly_full_is_a_warning(catalogue: Catalogue) -> None:
    members = [f"c{number}" for number in range(220)]
    own = network(catalogue, "core", *members)
    everyone = [
        replace(container(catalogue, "redis", "core"), id=name, name=name) for name in members
    ]
    assert core(catalogue, [own], everyone).verdict == "warn"
