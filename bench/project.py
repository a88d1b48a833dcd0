"""A project with names, addresses and state of its own, so that a benchmark disturbs nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import generate
from tests.e2e.product import ENVIRONMENTS, Product, make_product


@contextmanager
def bench_product(engine: docker.DockerClient) -> Iterator[Product]:
    """Give a copy of the product with generated secrets; remove all it made afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        product = make_product(Path(folder) / "project", engine)
        with product.variables():
            project = open_project()
            for environment in ENVIRONMENTS:
                generate(project, project.catalogue(environment))
        try:
            yield product
        finally:
            product.remove_everything()
