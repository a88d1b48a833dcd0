"""Fixtures for tests on a real engine: a world of one's own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from mmstack_ops.adapters.engine.client import DEFAULT_URL
from mmstack_ops.domain.stacks import labels
from tests.integration.world import BASE, POSTGRES, STAND_IN, World, remove_labelled

_PREFIX = "mmtest-"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def engine_url() -> str:
    """Where the engine is. No engine, or no lab images, is a failure: nothing was tested."""
    url = os.environ.get("DOCKER_HOST", DEFAULT_URL)
    client = docker.DockerClient(base_url=url)
    try:
        for image in (STAND_IN, POSTGRES, BASE):
            client.images.get(image)
        _sweep(client)
    except docker.errors.ImageNotFound as error:
        pytest.fail(f"{error.explanation}: build the lab's images first (`make lab-up`)")
    finally:
        client.close()
    return url


@pytest.fixture
def world(engine_url: str) -> Iterator[World]:
    """A world with an owner, addresses and names of its own; everything of it goes at the end."""
    number = next(_numbers)
    here = World(
        owner=f"{_PREFIX}{os.getpid()}-{number}",
        # Several test processes at once: the second octet is the process's.
        subnet=f"10.{140 + os.getpid() % 100}.{number % 256}.0/24",
        base_url=engine_url,
    )
    try:
        yield here
    finally:
        here.remove_everything()
        here.close()


def _sweep(client: docker.DockerClient) -> None:
    """Take away what test processes that died left behind."""
    owners: set[tuple[str, str]] = set()
    for label in (labels.OWNER, "io.mmstack.test"):
        filters = {"label": label}
        listed = client.containers.list(all=True, filters=filters, ignore_removed=True)
        found = [container.labels for container in listed]
        found += [n.attrs.get("Labels") or {} for n in client.networks.list(filters=filters)]
        found += [v.attrs.get("Labels") or {} for v in client.volumes.list(filters=filters)]
        owners |= {(label, marks[label]) for marks in found if label in marks}
    for label, owner in owners:
        pid = owner.removeprefix(_PREFIX).partition("-")[0]
        if owner.startswith(_PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            remove_labelled(client, f"{label}={owner}")
