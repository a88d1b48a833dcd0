"""Containers of the lab's images, each with a label of its test run and gone after it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.lab.containers import LABEL, Run, Running


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The engine. None, or one without the lab's images, is a failure: nothing was tested."""
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = docker.DockerClient(base_url=url)
        client.ping()
        client.images.get("mmstack-lab/base:lab")
    except docker.errors.ImageNotFound:
        pytest.fail("the engine lacks the lab's images: run `bash lab/lab.sh up`")
    except docker.errors.DockerException as error:
        pytest.fail(f"no Docker engine at {url} ({error}): run `bash lab/lab.sh up`")
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def run(engine: Any) -> Iterator[Run]:
    """Start a container of a lab image by its name; it and its volumes go when the test ends."""
    # The process id lets a later run tell what a killed one left behind.
    owner = f"mmtest-{os.getpid()}-{uuid.uuid4()}"

    def start(image: str, command: list[str] | None = None, **options: Any) -> Running:
        ports = {f"{port}/tcp": ("127.0.0.1", None) for port in options.pop("publish", ())}
        container = engine.containers.run(
            f"mmstack-lab/{image}:lab",
            command,
            detach=True,
            labels={LABEL: owner},
            ports=ports,
            **options,
        )
        return Running(container)

    try:
        yield start
    finally:
        filters = {"label": f"{LABEL}={owner}"}
        for container in engine.containers.list(all=True, filters=filters):
            container.remove(force=True, v=True)
        for volume in engine.volumes.list(filters=filters):
            volume.remove()


@pytest.fixture
def volume(engine: Any) -> Iterator[str]:
    """A named volume that outlives containers, and goes when the test ends."""
    owner = f"mmtest-{os.getpid()}-{uuid.uuid4()}"
    created = engine.volumes.create(name=owner, labels={LABEL: owner})
    yield created.name
    for container in engine.containers.list(all=True, filters={"volume": owner}):
        container.remove(force=True, v=True)
    created.remove()
