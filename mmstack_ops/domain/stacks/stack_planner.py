"""Plan the changes from the observed state to the desired state, without side effects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from mmstack_ops.domain.errors import EngineError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.diff import FieldChange, diff_specs, drift_of
from mmstack_ops.domain.stacks.image_plan import image_action, with_fresh_image
from mmstack_ops.domain.stacks.naming import NEW_SUFFIX, aside_name, incoming_name
from mmstack_ops.domain.stacks.network_plan import is_owned, network_actions
from mmstack_ops.domain.stacks.observed import (
    ObservedContainer,
    ObservedState,
)
from mmstack_ops.domain.stacks.spec import DesiredState, NetworkSpec, ReplicaSpec, ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action, Plan

_Containers = dict[str, list[ObservedContainer]]


def plan_up(
    desired: DesiredState, observed: ObservedState, *, rebuild: Collection[str] = ()
) -> Plan:
    """Plan the changes from the observed state to the desired state.

    Args:
        rebuild: services whose images are built or pulled again even if they are present.

    Raises:
        AddressConflictError: a network's name or subnet is used by another owner.
        ImageUnavailableError: an image is missing and may not be pulled.
        EngineError: a dependency outside the selection isn't running, a container's name is
            used by another owner, or a GPU is requested and there is none.
    """
    _raise_if_missing_gpu(desired, observed)
    containers = _by_service(desired.environment, observed)
    _raise_if_missing_dependencies(desired, containers)
    _raise_if_taken_names(desired, observed)
    on_services: list[Action] = []
    images: dict[str, Action] = {}
    changed: set[str] = set()
    for service in desired.services:
        ours = _service_actions(service, containers.get(service.name, []), observed)
        image = image_action(service, ours, observed, rebuild=service.name in rebuild)
        if image is not None:
            images.setdefault(image.target, image)
            ours = [with_fresh_image(action) for action in ours]
        ours = _restart_after(service, ours, changed)
        if any(action.kind in ("create", "recreate", "restart", "start") for action in ours):
            changed.add(service.name)
        on_services += ours
    actions = [
        *network_actions(desired, observed),
        *_volume_actions(desired, observed),
        *images.values(),
        *on_services,
    ]
    left = observed.undeclared(desired.environment, desired.known_services)
    orphans = [
        f"{service} is no longer in the schema and still has a container; if you don't need it,"
        f" remove it with `mmstack stop {service}`"
        for service in left
    ]
    return Plan(
        environment=desired.environment,
        operation="up",
        daemon_id=observed.daemon_id,
        actions=tuple(actions),
        services=desired.services,
        warnings=(*desired.warnings, *_foreign_volumes(desired, observed), *orphans),
        fresh_images=bool(rebuild),
    )


def plan_down(
    owner: str,
    environment: str,
    services: Iterable[str],
    observed: ObservedState,
    *,
    networks: Iterable[NetworkSpec],
    dependencies: Mapping[str, Iterable[str]],
    keep_containers: bool = False,
) -> Plan:
    """Plan to stop ``services`` (given in dependency order): dependants first, volumes never.

    Containers are removed unless ``keep_containers``; a network is removed if no container is
    left on it.
    """
    containers = _by_service(environment, observed)
    actions: list[Action] = []
    leaving: set[str] = set()
    for name in reversed(tuple(services)):
        for container in sorted(containers.get(name, []), key=lambda c: -c.number):
            if keep_containers and container.state not in ("running", "paused", "restarting"):
                continue
            leaving.add(container.id)
            actions.append(
                Action(
                    kind="stop" if keep_containers else "remove",
                    target=container.name,
                    stack=container.stack,
                    service=name,
                    reason="stop was asked for",
                    container=container,
                )
            )
    if not keep_containers:
        by_name = {network.name: network for network in observed.networks}
        for spec in networks:
            network = by_name.get(spec.name)
            if network is None or not network.members <= leaving:
                continue
            if not is_owned(network, owner, environment):
                continue
            actions.append(
                Action(
                    kind="remove-network",
                    target=spec.name,
                    stack=spec.stack,
                    reason="no container is left on it",
                    network=spec,
                    object_id=network.id,
                )
            )
    return Plan(
        environment=environment,
        operation="down",
        daemon_id=observed.daemon_id,
        actions=tuple(actions),
        dependencies={name: tuple(needed) for name, needed in dependencies.items()},
    )


def plan_restart(desired: DesiredState, observed: ObservedState) -> Plan:
    """Plan to restart the existing containers of the selected services, in dependency order.

    Raises:
        EngineError: a service has no container to restart.
    """
    containers = _by_service(desired.environment, observed)
    actions: list[Action] = []
    for service in desired.services:
        present = {c.name: c for c in containers.get(service.name, [])}
        for replica in service.replicas:
            container = present.get(replica.name)
            if container is None:
                raise EngineError(
                    f"{service.name} can't be restarted: it has no container {replica.name}",
                    remedy=f"start it with `mmstack start {service.name}`",
                )
            actions.append(
                Action(
                    kind="restart",
                    target=replica.name,
                    stack=service.stack,
                    service=service.name,
                    reason="restart was asked for",
                    replica=replica,
                    container=container,
                )
            )
    return Plan(
        environment=desired.environment,
        operation="restart",
        daemon_id=observed.daemon_id,
        actions=tuple(actions),
        services=desired.services,
    )


def _by_service(environment: str, observed: ObservedState) -> _Containers:
    found: _Containers = {}
    for container in observed.containers:
        if container.environment == environment and not container.oneoff:
            found.setdefault(container.service, []).append(container)
    return found


def _raise_if_missing_gpu(desired: DesiredState, observed: ObservedState) -> None:
    wanting = [
        service.name
        for service in desired.services
        if any(replica.container.gpu is not None for replica in service.replicas)
    ]
    if wanting and not observed.has_gpu:
        raise EngineError(
            f"{', '.join(wanting)} asked for a GPU, and the engine has none",
            why="the engine lists no nvidia runtime",
            remedy="install the NVIDIA Container Toolkit, or start without --gpu",
        )


def _raise_if_missing_dependencies(desired: DesiredState, containers: _Containers) -> None:
    selected = {service.name for service in desired.services}
    for service in desired.services:
        for dependency in service.depends_on:
            if dependency.service in selected:
                continue
            present = containers.get(dependency.service, [])
            if dependency.condition == "completed":
                fulfilled = any(c.state == "exited" and c.exit_code == 0 for c in present)
            else:
                fulfilled = any(c.state == "running" for c in present)
            if not fulfilled:
                raise EngineError(
                    f"{service.name} needs {dependency.service} of stack {dependency.stack},"
                    " which isn't running",
                    remedy=f"start it first: `mmstack start {dependency.service}`",
                )


def _volume_actions(desired: DesiredState, observed: ObservedState) -> list[Action]:
    present = {volume.name for volume in observed.volumes}
    return [
        Action(
            kind="keep" if spec.name in present else "create-volume",
            target=spec.name,
            stack=spec.stack,
            reason="unchanged" if spec.name in present else "it doesn't exist yet",
            volume=spec,
        )
        for spec in desired.volumes
    ]


def _foreign_volumes(desired: DesiredState, observed: ObservedState) -> list[str]:
    present = {volume.name: volume for volume in observed.volumes}
    return [
        f"volume {spec.name} was made by somebody else; it is used with what it holds"
        for spec in desired.volumes
        if spec.name in present and present[spec.name].labels.get(labels.OWNER) != desired.owner
    ]


def _raise_if_taken_names(desired: DesiredState, observed: ObservedState) -> None:
    """Raise EngineError if another owner or another environment has a container's name."""
    taken = {name: f"isn't ours ({id_[:12]})" for name, id_ in observed.foreign_names.items()}
    taken |= {
        container.name: f"belongs to {container.service} of environment {container.environment}"
        for container in observed.containers
        if container.environment != desired.environment
    }
    for service in desired.services:
        for replica in service.replicas:
            if replica.name in taken:
                raise EngineError(
                    f"the name {replica.name} is taken by a container that {taken[replica.name]}",
                    remedy=f"rename it: `docker rename {replica.name} <new name>`, or remove it if"
                    " it isn't needed",
                )


def _service_actions(
    service: ServiceSpec, containers: list[ObservedContainer], observed: ObservedState
) -> list[Action]:
    by_name = {container.name: container for container in containers}
    actions: list[Action] = []
    wanted_names = {replica.name for replica in service.replicas}
    for replica in service.replicas:
        incoming = by_name.get(incoming_name(replica.name))
        if incoming is not None:
            actions.append(_removal(service, incoming, "an interrupted update left it"))
        current = by_name.get(replica.name)
        aside = by_name.get(aside_name(replica.name))
        if aside is not None and current is not None and current.is_up:
            actions.append(_removal(service, aside, "an interrupted update left it"))
        elif aside is not None:
            actions.append(
                Action(
                    kind="recover",
                    target=replica.name,
                    stack=service.stack,
                    service=service.name,
                    reason="an update was interrupted: the previous container comes back first",
                    replica=replica,
                    container=current,
                    previous=aside,
                )
            )
            current = aside
        actions.append(_replica_action(service, replica, current, observed))
    for container in containers:
        base = container.name.removesuffix(NEW_SUFFIX)
        if container.name in wanted_names or base in wanted_names:
            continue
        if container.name in {aside_name(name) for name in wanted_names}:
            continue
        actions.append(_removal(service, container, "the service has fewer replicas now"))
    return actions


def _restart_after(service: ServiceSpec, actions: list[Action], changed: set[str]) -> list[Action]:
    """Turn "keep" into a restart if a dependency with ``restart`` changes."""
    causes = [d.service for d in service.depends_on if d.restart and d.service in changed]
    if not causes:
        return actions
    reason = f"{causes[0]}, which it depends on, changes"
    return [
        replace(action, kind="restart", reason=reason) if action.kind == "keep" else action
        for action in actions
    ]


def _removal(service: ServiceSpec, container: ObservedContainer, reason: str) -> Action:
    return Action(
        kind="remove",
        target=container.name,
        stack=service.stack,
        service=service.name,
        reason=reason,
        container=container,
    )


def _replica_action(
    service: ServiceSpec,
    replica: ReplicaSpec,
    current: ObservedContainer | None,
    observed: ObservedState,
) -> Action:
    def action(kind: str, reason: str, changes: tuple[FieldChange, ...] = ()) -> Action:
        return Action(
            kind=kind,  # type: ignore[arg-type]
            target=replica.name,
            stack=service.stack,
            service=service.name,
            reason=reason,
            changes=changes,
            replica=replica,
            container=current,
        )

    if current is None:
        return action("create", "it doesn't exist yet")
    if current.config_hash != replica.config_hash:
        changes = diff_specs(current.spec, replica.public)
        return action("recreate", "its configuration changed", changes)
    present = observed.images.get(service.image.reference)
    if present is not None and present.id != current.image_id:
        change = FieldChange("image id", current.image_id[:19], present.id[:19])
        return action("recreate", "its image changed", (change,))
    if current.state in ("dead", "removing"):
        return action("recreate", f"the container is {current.state}")
    if drift := drift_of(replica, current):
        return action("recreate", "it was changed by hand", drift)
    if current.state == "exited" and current.exit_code == 0 and replica.container.restart == "no":
        return action("keep", "it has done its work")
    if current.state not in ("running", "restarting"):
        return action("start", f"the container is {current.state}")
    if current.health == "unhealthy":
        return action("restart", "it is unhealthy")
    return action("keep", "unchanged")
