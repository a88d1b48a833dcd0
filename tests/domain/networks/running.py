"""Containers that run, for tests of networks."""

from __future__ import annotations

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.observed import ObservedContainer


def container(catalogue: Catalogue, service: str, *stacks: str) -> ObservedContainer:
    names = [catalogue.networks[stack].name for stack in stacks]
    return ObservedContainer(
        id=f"{service}-id",
        name=f"{service}-1",
        environment="development",
        stack=catalogue.services[service].stack,
        service=service,
        number=1,
        state="running",
        health="healthy",
        config_hash="",
        spec={},
        image="",
        image_id="",
        networks=tuple(names),
        addresses={name: f"10.0.{number}.7" for number, name in enumerate(names)},
    )
