"""Fixtures for tests on a real engine: a world of one's own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from mmstack_ops.adapters.engine.client import DEFAULT_URL
from mmstack_ops.adapters.stores.backup_type import Instance
from tests import allocation
from tests.integration.backups.lab import postgres
from tests.integration.world import BASE, POSTGRES, STAND_IN, World, sweep


@pytest.fixture(scope="session")
def engine_url() -> str:
    """Where the engine is. No engine, or no lab images, is a failure: nothing was tested."""
    url = os.environ.get("DOCKER_HOST", DEFAULT_URL)
    client = docker.DockerClient(base_url=url)
    try:
        for image in (STAND_IN, POSTGRES, BASE):
            client.images.get(image)
        sweep(client)
    except docker.errors.ImageNotFound as error:
        pytest.fail(f"{error.explanation}: build the lab's images first (`make lab-up`)")
    finally:
        client.close()
    return url


@pytest.fixture(scope="session")
def shared_world(engine_url: str) -> Iterator[World]:
    """A world of the whole worker, for servers that only need to be there."""
    here = World(
        owner=allocation.new_owner(), subnet=allocation.world_subnet(), base_url=engine_url
    )
    try:
        yield here
    finally:
        here.remove_everything()
        here.close()


@pytest.fixture(scope="session")
def shared_postgres(shared_world: World) -> Instance:
    """A PostgreSQL server; a test changes nothing outside a database that it makes itself."""
    return postgres(shared_world)


@pytest.fixture
def world(engine_url: str) -> Iterator[World]:
    """A world with an owner, addresses and names of its own; everything of it goes at the end."""
    here = World(
        owner=allocation.new_owner(), subnet=allocation.world_subnet(), base_url=engine_url
    )
    try:
        yield here
    finally:
        here.remove_everything()
        here.close()
