"""Build the desired state from the catalogue and an environment's values."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

from mmstack_ops.domain.catalogue.resolve import Catalogue, ServiceEntry
from mmstack_ops.domain.errors import ImageUnavailableError
from mmstack_ops.domain.interpolation import interpolate
from mmstack_ops.domain.schema.document import Path, dotted
from mmstack_ops.domain.schema.service import Mount
from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    DependencySpec,
    DesiredState,
    GpuSpec,
    HealthSpec,
    ImageSource,
    MountSpec,
    NetworkSpec,
    PortBinding,
    ReplicaSpec,
    ServiceSpec,
    VolumeSpec,
    config_hash,
    digest,
)

Place = Callable[[Sequence[Path]], str]
"""Returns the place in the schema of the first of some paths that exists, for errors."""


def _dotted(paths: Sequence[Path]) -> str:
    return dotted(paths[-1])


def build_desired(
    catalogue: Catalogue,
    services: Iterable[str],
    values: EnvironmentValues,
    *,
    image_overrides: Mapping[str, str],
    project_root: str,
    gpu: bool = False,
    place: Place = _dotted,
) -> DesiredState:
    """Build the desired state of ``services``.

    Args:
        catalogue: the environment's catalogue.
        services: names of services, in dependency order.
        values: the environment's variables and secrets.
        image_overrides: service → image reference, which overrides the schema.
        project_root: absolute path that relative bind mounts and build contexts start at.
        gpu: reserve the devices that services declare.
        place: returns the file and line of a value, for errors.

    Raises:
        ImageUnavailableError: a service has neither an image nor a build context.
        RenderError: a value refers to an unknown variable.
    """
    names = tuple(services)
    specs = tuple(
        _service(
            catalogue, catalogue.services[name], values, image_overrides, project_root, gpu, place
        )
        for name in names
    )
    stacks = dict.fromkeys(
        network.stack for name in names for network in catalogue.networks_of(name)
    )
    volumes = dict.fromkeys(
        mount.volume
        for name in names
        for mount in catalogue.services[name].definition.mounts
        if mount.volume is not None
    )
    warnings = tuple(
        f"{name} is made for a GPU and starts without one (start with --gpu to reserve it)"
        for name in names
        if catalogue.services[name].definition.gpu is not None and not gpu
    )
    return DesiredState(
        owner=catalogue.schema.config.project,
        environment=catalogue.environment,
        networks=network_specs(catalogue, stacks),
        volumes=tuple(_volume(catalogue, volume) for volume in volumes),
        services=specs,
        known_services=frozenset(catalogue.services),
        warnings=warnings,
    )


def network_specs(catalogue: Catalogue, stacks: Iterable[str]) -> tuple[NetworkSpec, ...]:
    """Return the specifications of the networks of ``stacks`` in this environment."""
    return tuple(_network(catalogue, stack) for stack in stacks)


def _network(catalogue: Catalogue, stack: str) -> NetworkSpec:
    entry = catalogue.networks[stack]
    return NetworkSpec(
        name=entry.name,
        key=entry.key,
        subnet=entry.subnet,
        internal=entry.internal,
        stack=stack,
        project=catalogue.project(stack),
    )


def _volume(catalogue: Catalogue, volume: str) -> VolumeSpec:
    stack = catalogue.volume_owners[volume]
    return VolumeSpec(
        name=catalogue.volume_name(volume),
        key=volume,
        stack=stack,
        project=catalogue.project(stack),
        resumable=catalogue.schema.volumes[volume].resumable,
    )


def image_source(
    entry: ServiceEntry,
    variables: Mapping[str, str],
    image_overrides: Mapping[str, str],
    project_root: str,
) -> ImageSource:
    """Return the source of a service's image.

    The override file has priority, then the image variable, then a build context that is set,
    then the schema's default.

    Raises:
        ImageUnavailableError: none of these exists; the error names the variables to set.
    """
    image = entry.definition.image
    override = image_overrides.get(entry.name)
    if override:
        return ImageSource(reference=override, variable=image.variable, pull=image.pull)
    reference = variables.get(image.variable, "")
    build = image.build
    context = variables.get(build.context_variable, "") if build is not None else ""
    if build is not None and context:
        return ImageSource(
            reference=reference or f"mmstack/{entry.name}:built",
            variable=image.variable,
            pull=image.pull,
            build_context=posixpath.join(project_root, context),
            dockerfile=build.dockerfile,
            build_args=build.args,
            build_target=build.target,
        )
    reference = reference or image.default or ""
    if not reference:
        choices = f"{image.variable} to an image"
        if build is not None:
            choices += f", or {build.context_variable} to a folder with a {build.dockerfile}"
        raise ImageUnavailableError(
            f"service {entry.name} has no image",
            why="its image is your own, and no variable says where it is",
            remedy=f"set {choices}",
        )
    return ImageSource(reference=reference, variable=image.variable, pull=image.pull)


def _service(
    catalogue: Catalogue,
    entry: ServiceEntry,
    values: EnvironmentValues,
    image_overrides: Mapping[str, str],
    project_root: str,
    gpu: bool,
    place: Place,
) -> ServiceSpec:
    definition = entry.definition
    image = image_source(entry, values.variables, image_overrides, project_root)
    secret_variables = frozenset(
        name for name, text in definition.environment.items() if values.is_secret(text)
    )
    replicas: list[ReplicaSpec] = []
    for number in range(1, definition.replicas + 1):
        container = _container(
            catalogue, entry, values, image.reference, project_root, gpu, number, place
        )
        public = container.public(secret_variables=secret_variables, key=values.digest_key)
        replicas.append(
            ReplicaSpec(
                name=catalogue.container_name(entry.name, number),
                number=number,
                container=container,
                public=public,
                config_hash=config_hash(public),
            )
        )
    return ServiceSpec(
        name=entry.name,
        stack=entry.stack,
        project=catalogue.project(entry.stack),
        image=image,
        replicas=tuple(replicas),
        depends_on=tuple(
            DependencySpec(
                service=dependency.service,
                stack=catalogue.services[dependency.service].stack,
                condition=dependency.condition,
                restart=dependency.restart,
            )
            for dependency in definition.depends_on
        ),
        healthy_within=definition.healthy_within,
    )


def _container(
    catalogue: Catalogue,
    entry: ServiceEntry,
    values: EnvironmentValues,
    image: str,
    project_root: str,
    gpu: bool,
    number: int,
    place: Place,
) -> ContainerSpec:
    definition = entry.definition
    variables = values.variables

    def text(value: str, *at: str | int) -> str:
        own: Path = ("services", entry.name, *at)
        override: Path = ("environments", catalogue.environment, "overrides", entry.name, *at)
        return interpolate(value, variables, where=lambda: place((override, own)))

    name = catalogue.container_name(entry.name, number)
    # As in Compose, ports map 1:1; replica n uses the n-th port of a range.
    ports = tuple(
        PortBinding(
            container=port.container,
            host=port.host[0] + number - 1,
            bind=port.bind or catalogue.schema.config.bind_address,
            protocol=port.protocol,
        )
        for port in definition.ports
        if port.host is not None
    )
    mounts = [
        _mount(catalogue, mount, project_root, index, text)
        for index, mount in enumerate(definition.mounts)
    ]
    mounts += [
        MountSpec(
            kind="bind",
            source=values.secret_file(entry.name, use.secret),
            target=f"/run/secrets/{use.secret}",
            read_only=True,
        )
        for use in definition.secrets
    ]
    health = definition.healthcheck
    device = definition.gpu if gpu else None
    limits, reservations = definition.resources.limits, definition.resources.reservations
    return ContainerSpec(
        image=image,
        command=_texts(definition.command, "command", text),
        entrypoint=_texts(definition.entrypoint, "entrypoint", text),
        user=definition.user,
        working_dir=definition.working_dir,
        hostname=definition.hostname,
        environment={
            key: text(value, "environment", key) for key, value in definition.environment.items()
        },
        ports=ports,
        mounts=tuple(mounts),
        networks=tuple(
            Attachment(network=network.name, aliases=(entry.name, name))
            for network in catalogue.networks_of(entry.name)
        ),
        health=None
        if health is None
        else HealthSpec(
            test=tuple(health.test),
            interval=health.interval,
            timeout=health.timeout,
            retries=health.retries,
            start_period=health.start_period,
            start_interval=health.start_interval,
        ),
        gpu=None
        if device is None
        else GpuSpec(
            driver=device.driver,
            count=-1 if device.count == "all" else device.count,
            device_ids=tuple(device.device_ids),
            capabilities=tuple(device.capabilities),
        ),
        restart=definition.restart,
        memory_limit=limits.memory,
        memory_reservation=reservations.memory,
        cpu_limit=limits.cpus,
        cpu_reservation=reservations.cpus,
        pids_limit=definition.resources.pids,
        labels=dict(definition.labels),
        init=definition.init,
        privileged=definition.privileged,
        read_only=definition.read_only,
        tmpfs=tuple(definition.tmpfs),
        cap_add=tuple(definition.cap_add),
        cap_drop=tuple(definition.cap_drop),
        security_opt=tuple(definition.security_opt),
        sysctls=dict(definition.sysctls),
        ulimits=dict(definition.ulimits),
        shm_size=definition.shm_size,
        extra_hosts=dict(definition.extra_hosts),
        stop_signal=definition.stop_signal,
        stop_grace_period=definition.stop_grace_period,
        secret_digests={
            use.secret: digest(values.secrets.get(use.secret, ""), values.digest_key)
            for use in definition.secrets
        },
    )


def _texts(items: list[str] | None, key: str, text: Callable[..., str]) -> tuple[str, ...] | None:
    if items is None:
        return None
    return tuple(text(item, key, index) for index, item in enumerate(items))


def _mount(
    catalogue: Catalogue,
    mount: Mount,
    project_root: str,
    index: int,
    text: Callable[..., str],
) -> MountSpec:
    if mount.volume is not None:
        source = catalogue.volume_name(mount.volume)
        return MountSpec("volume", source, mount.target, mount.read_only)
    if mount.bind is not None:
        path = posixpath.normpath(
            posixpath.join(project_root, text(mount.bind, "mounts", index, "bind"))
        )
        return MountSpec("bind", path, mount.target, mount.read_only)
    return MountSpec("tmpfs", str(mount.tmpfs), mount.target, mount.read_only)
