"""The whole product for one module of tests; gone afterwards, also after a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from mmstack_ops.adapters.engine.client import DEFAULT_URL
from tests.e2e.product import Product, Ui, make_product
from tests.integration.world import sweep

IMAGES = ("postgres", "redis", "qdrant", "minio", "vllm", "litellm")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine. Without it or the lab's images nothing would be tested: a failure."""
    client = docker.DockerClient(base_url=os.environ.get("DOCKER_HOST", DEFAULT_URL), timeout=60)
    try:
        for image in IMAGES:
            client.images.get(f"mmstack-lab/{image}:lab")
        sweep(client)
    except docker.errors.ImageNotFound as error:
        pytest.fail(f"{error.explanation}: build the lab's images first (`make lab-up`)")
    yield client
    client.close()


@pytest.fixture(scope="module")
def product(
    tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient
) -> Iterator[Product]:
    """A project of its own, with generated secrets."""
    from mmstack_ops.adapters.project import open_project
    from mmstack_ops.adapters.secrets.store import generate

    made = make_product(tmp_path_factory.mktemp("product") / "project", engine)
    with made.variables():
        project = open_project()
        generate(project, project.catalogue("development"))
    try:
        yield made
    finally:
        made.remove_everything()


@pytest.fixture(scope="module")
def shown() -> tuple[str, ...]:
    """The environments that the UI loads; a file that needs more says so."""
    return ("development",)


@pytest.fixture(scope="module")
def ui(product: Product, shown: tuple[str, ...]) -> Iterator[Ui]:
    """Webserver and daemon on a free port, with the code locations of ``shown`` loaded."""
    product.show_in_ui(*shown)
    running = Ui.start(product)
    try:
        running.wait_until_loaded()
        yield running
    finally:
        running.stop()
