"""Render Compose files as plain data: one for each stack, and one for each environment.

They contain what Compose 1.29 and Compose v2 both accept. So there is no top-level ``name`` (the
project is given with ``-p``) and no ``start_interval``. Variables stay ``${NAME}`` and secrets
are files: a generated file contains no values of either.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmstack_ops.domain.addresses import with_port
from mmstack_ops.domain.catalogue.resolve import Catalogue, ServiceEntry
from mmstack_ops.domain.compose.text import duration, literal, size, template
from mmstack_ops.domain.schema.service import Mount, Port, ResourceAmount

_CONDITIONS = {
    "started": "service_started",
    "healthy": "service_healthy",
    "completed": "service_completed_successfully",
}


@dataclass(frozen=True)
class ComposeContext:
    """What generated files need besides the catalogue.

    Args:
        project_root: absolute path that relative bind mounts start at.
        secret_directory: absolute path of ``<service>/<secret>`` files.
        image_overrides: service → image, which overrides schema and variables.
        variables: the operator's own values; only used to check which build contexts are set.
        gpu: reserve the devices that services declare.
    """

    project_root: str
    secret_directory: str
    image_overrides: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False


def render_stack(catalogue: Catalogue, stack: str, context: ComposeContext) -> dict[str, Any]:
    """Return the Compose file of ``stack``; other stacks' networks and volumes are external.

    Raises:
        KeyError: the schema has no such stack.
    """
    services = catalogue.schema.stacks[stack].services
    return _render(catalogue, services, context, own_stacks={stack})


def render_environment(catalogue: Catalogue, context: ComposeContext) -> dict[str, Any]:
    """Return one Compose file with everything that starting the environment starts."""
    return _render(catalogue, catalogue.started, context, own_stacks=set(catalogue.schema.stacks))


def _render(
    catalogue: Catalogue,
    names: Iterable[str],
    context: ComposeContext,
    *,
    own_stacks: set[str],
) -> dict[str, Any]:
    selected = list(names)
    networks: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    for name in selected:
        for network in catalogue.networks_of(name):
            networks[network.key] = _network(catalogue, network.stack, own_stacks)
        definition = catalogue.services[name].definition
        for mount in definition.mounts:
            if mount.volume is not None:
                volumes[mount.volume] = _volume(catalogue, mount.volume, own_stacks)
        for use in definition.secrets:
            # One file for each service: its owner is the user of that service's container.
            path = f"{context.secret_directory}/{name}/{use.secret}"
            secrets[f"{name}_{use.secret}"] = {"file": literal(path)}
    document: dict[str, Any] = {
        "services": {
            name: _service(catalogue, catalogue.services[name], context, set(selected))
            for name in selected
        },
        "networks": networks,
    }
    if volumes:
        document["volumes"] = volumes
    if secrets:
        document["secrets"] = secrets
    return document


def _network(catalogue: Catalogue, stack: str, own_stacks: set[str]) -> dict[str, Any]:
    entry = catalogue.networks[stack]
    if stack not in own_stacks:
        return {"name": entry.name, "external": True}
    network: dict[str, Any] = {
        "name": entry.name,
        "driver": "bridge",
        "ipam": {"config": [{"subnet": entry.subnet}]},
    }
    if entry.internal:
        network["internal"] = True
    return network


def _volume(catalogue: Catalogue, volume: str, own_stacks: set[str]) -> dict[str, Any]:
    name = catalogue.volume_name(volume)
    if catalogue.volume_owners[volume] not in own_stacks:
        return {"name": name, "external": True}
    return {"name": name}


def _service(
    catalogue: Catalogue, entry: ServiceEntry, context: ComposeContext, selected: set[str]
) -> dict[str, Any]:
    definition = entry.definition
    service: dict[str, Any] = {**_image(entry, context)}
    _put(service, "container_name", definition.container_name)
    for key in ("user", "working_dir", "hostname", "stop_signal"):
        value = getattr(definition, key)
        _put(service, key, None if value is None else literal(value))
    # An empty list has a meaning here: it clears the image's own.
    for key, words in (("entrypoint", definition.entrypoint), ("command", definition.command)):
        if words is not None:
            service[key] = [template(word) for word in words]
    _put(service, "environment", {k: template(v) for k, v in definition.environment.items()})
    _put(
        service,
        "secrets",
        [
            {"source": f"{entry.name}_{use.secret}", "target": use.secret}
            for use in definition.secrets
        ],
    )
    bind = catalogue.schema.config.bind_address
    _put(service, "ports", [_published(p, bind) for p in definition.ports if p.host is not None])
    _put(service, "expose", [_exposed(p) for p in definition.ports if p.host is None])
    _put(service, "volumes", [_mount(mount, context.project_root) for mount in definition.mounts])
    service["networks"] = [network.key for network in catalogue.networks_of(entry.name)]
    _put(service, "healthcheck", _healthcheck(entry))
    _put(service, "depends_on", _dependencies(entry, selected))
    _put(service, "deploy", _deploy(entry, gpu=context.gpu))
    _put(service, "pids_limit", definition.resources.pids)
    service["restart"] = definition.restart
    _put(service, "profiles", list(definition.profiles))
    _put(service, "labels", {k: literal(v) for k, v in definition.labels.items()})
    for key in ("init", "privileged", "read_only"):
        _put(service, key, getattr(definition, key))
    for key in ("tmpfs", "cap_add", "cap_drop", "security_opt"):
        _put(service, key, [literal(item) for item in getattr(definition, key)])
    for key in ("sysctls", "extra_hosts"):
        _put(service, key, {k: literal(v) for k, v in getattr(definition, key).items()})
    _put(service, "ulimits", dict(definition.ulimits))
    _put(service, "shm_size", definition.shm_size and size(definition.shm_size))
    service["stop_grace_period"] = duration(definition.stop_grace_period)
    return service


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    if value not in (None, [], {}, False, 0):
        target[key] = value


def _image(entry: ServiceEntry, context: ComposeContext) -> dict[str, Any]:
    """Return ``image`` and ``build`` with the same meaning as the engine's image source."""
    image = entry.definition.image
    override = context.image_overrides.get(entry.name)
    if override:
        return {"image": literal(override)}
    build = image.build
    if build is not None and context.variables.get(build.context_variable):
        how: dict[str, Any] = {
            "context": f"${{{build.context_variable}}}",
            "dockerfile": literal(build.dockerfile),
        }
        _put(how, "args", {k: literal(v) for k, v in build.args.items()})
        _put(how, "target", build.target)
        return {"image": f"${{{image.variable}:-mmstack/{entry.name}:built}}", "build": how}
    if image.default is not None:
        return {"image": f"${{{image.variable}:-{image.default}}}"}
    message = f"set {image.variable} to an image"
    if build is not None:
        message += f" or {build.context_variable} to a folder with a {build.dockerfile}"
    return {"image": f"${{{image.variable}:?{message}}}"}


def _published(port: Port, default_bind: str) -> str:
    assert port.host is not None
    first, last = port.host
    host = str(first) if first == last else f"{first}-{last}"
    suffix = "" if port.protocol == "tcp" else f"/{port.protocol}"
    return f"{with_port(port.bind or default_bind, host)}:{port.container}{suffix}"


def _exposed(port: Port) -> str:
    return str(port.container) if port.protocol == "tcp" else f"{port.container}/{port.protocol}"


def _mount(mount: Mount, project_root: str) -> dict[str, Any]:
    result: dict[str, Any]
    if mount.volume is not None:
        result = {"type": "volume", "source": mount.volume}
    elif mount.bind is not None:
        source = template(mount.bind)
        if not source.startswith("${"):
            source = posixpath.join(literal(project_root), source)
        if "${" not in source:
            # A default may contain parts of a path that mean nothing before it is resolved.
            source = posixpath.normpath(source)
        result = {"type": "bind", "source": source}
    else:
        result = {"type": "tmpfs", "tmpfs": {"size": mount.tmpfs}}
    result["target"] = literal(mount.target)
    _put(result, "read_only", mount.read_only)
    return result


def _healthcheck(entry: ServiceEntry) -> dict[str, Any] | None:
    check = entry.definition.healthcheck
    if check is None:
        return None
    return {
        "test": [literal(word) for word in check.test],
        "interval": duration(check.interval),
        "timeout": duration(check.timeout),
        "retries": check.retries,
        "start_period": duration(check.start_period),
    }


def _dependencies(entry: ServiceEntry, selected: set[str]) -> dict[str, Any]:
    dependencies: dict[str, Any] = {}
    for dependency in entry.definition.depends_on:
        # Compose can't wait for another project's services; mmstack-ops orders the stacks itself.
        if dependency.service in selected:
            condition: dict[str, Any] = {"condition": _CONDITIONS[dependency.condition]}
            _put(condition, "restart", dependency.restart)
            dependencies[dependency.service] = condition
    return dependencies


def _deploy(entry: ServiceEntry, *, gpu: bool) -> dict[str, Any]:
    definition = entry.definition
    deploy: dict[str, Any] = {}
    if definition.replicas != 1:
        deploy["replicas"] = definition.replicas
    resources: dict[str, Any] = {}
    _put(resources, "limits", _amount(definition.resources.limits))
    reservations = _amount(definition.resources.reservations)
    if gpu and definition.gpu is not None:
        device: dict[str, Any] = {
            "driver": definition.gpu.driver,
            "capabilities": list(definition.gpu.capabilities),
        }
        _put(device, "count", definition.gpu.count)
        _put(device, "device_ids", list(definition.gpu.device_ids))
        reservations["devices"] = [device]
    _put(resources, "reservations", reservations)
    _put(deploy, "resources", resources)
    return deploy


def _amount(amount: ResourceAmount) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if amount.cpus is not None:
        result["cpus"] = f"{amount.cpus:g}"
    if amount.memory is not None:
        result["memory"] = size(amount.memory)
    return result
