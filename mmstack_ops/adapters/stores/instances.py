"""Find the containers on the engine that are to be backed up or restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.errors import BackupError
from mmstack_ops.domain.schema.service import Image, Service
from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks.desired import build_desired
from mmstack_ops.domain.stacks.spec import ContainerSpec

if TYPE_CHECKING:
    from mmstack_ops.adapters.engine.reader import EngineReader
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.stacks.observed import ObservedContainer


def find_instance(
    project: Project,
    catalogue: Catalogue,
    values: EnvironmentValues,
    engine: EngineReader,
    service: str,
    *,
    must_run: bool = True,
) -> Instance:
    """Return the live container of ``service``; the first one if there are several replicas.

    Args:
        must_run: raise an error if it isn't running; otherwise return it with ``running`` false.

    Raises:
        BackupError: the service has no container, or it isn't running.
        ImageUnavailableError: the schema doesn't determine the service's image.
    """
    desired = build_desired(
        catalogue,
        [service],
        values,
        image_overrides=project.image_overrides(),
        project_root=str(project.root),
        place=project.place,
    )
    found = sorted(
        (
            container
            for container in engine.observe(desired.owner).containers
            if container.environment == catalogue.environment
            and container.service == service
            and not container.oneoff
        ),
        key=lambda container: (container.state != "running", container.number),
    )
    environment = catalogue.environment
    if not found:
        raise BackupError(
            f"{service} has no container in {environment}",
            remedy=f"start it with `mmstack -e {environment} start {service}`",
        )
    container = found[0]
    if must_run and container.state != "running":
        raise _not_running(service, environment, container)
    replicas = desired.services[0].replicas
    spec = next((r.container for r in replicas if r.number == container.number), None)
    return instance_of(
        environment,
        service,
        catalogue.services[service].definition,
        values,
        spec or replicas[0].container,
        container,
    )


def instance_of(
    environment: str,
    service: str,
    definition: Service,
    values: EnvironmentValues,
    spec: ContainerSpec,
    container: ObservedContainer,
) -> Instance:
    """Return the instance for a container on the engine."""
    network = spec.networks[0].network if spec.networks else ""
    return Instance(
        environment=environment,
        service=service,
        definition=definition,
        values=values,
        # The image that it runs: the schema may have changed since.
        spec=replace(spec, image=container.image),
        container_id=container.id,
        name=container.name,
        network=network,
        address=container.addresses.get(network, ""),
        volumes={mount.target: mount.source for mount in spec.mounts if mount.kind == "volume"},
        running=container.state == "running",
    )


def tool_instance(image: str, environment: str = "", service: str = "check") -> Instance:
    """Return an instance without a service, to run the tools of an image."""
    nothing: Mapping[str, str] = {}
    return Instance(
        environment=environment,
        service=service,
        definition=Service(description="tools", image=Image(variable="TOOL_IMAGE", default=image)),
        values=EnvironmentValues(
            variables=nothing,
            secret_variables=frozenset(),
            secrets=nothing,
            digest_key=b"",
            secret_directory="",
        ),
        spec=ContainerSpec(image=image),
        container_id="",
        name=service,
        network="",
        address="",
        volumes={},
        running=False,
    )


def _not_running(service: str, environment: str, container: ObservedContainer) -> BackupError:
    return BackupError(
        f"{service} isn't running in {environment}",
        why=f"{container.name} is {container.state}"
        + (f" (exit code {container.exit_code})" if container.state == "exited" else ""),
        remedy=f"start it with `mmstack -e {environment} start {service}`; its last words:"
        f" `mmstack -e {environment} logs {service}`",
    )
