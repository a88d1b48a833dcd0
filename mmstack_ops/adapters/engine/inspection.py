"""Convert the engine's JSON to our observed values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mmstack_ops.domain.addresses import with_port
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.events import ContainerEvent
from mmstack_ops.domain.stacks.observed import Health, ObservedContainer, ObservedNetwork


def observed_container(raw: dict[str, Any]) -> ObservedContainer:
    """Return the container described by ``GET /containers/{id}/json``."""
    config, state, host = raw["Config"], raw["State"], raw["HostConfig"]
    marks: dict[str, str] = config.get("Labels") or {}
    health = state.get("Health") or {}
    log = health.get("Log") or []
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    number = marks.get(labels.NUMBER, "1")
    return ObservedContainer(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        environment=marks.get(labels.ENVIRONMENT, ""),
        stack=marks.get(labels.STACK, ""),
        service=marks.get(labels.SERVICE, ""),
        number=int(number) if number.isdigit() else 1,
        state=state["Status"],
        health=_health(health),
        config_hash=marks.get(labels.CONFIG_HASH, ""),
        spec=_spec(marks.get(labels.SPEC, "")),
        image=config["Image"],
        image_id=raw["Image"],
        exit_code=state.get("ExitCode") or 0,
        restart_count=raw.get("RestartCount") or 0,
        # The engine reports "never" as the first day of year 1.
        started_at="" if state["StartedAt"].startswith("0001") else state["StartedAt"],
        health_output=(log[-1].get("Output") or "").strip() if log else "",
        addresses={
            name: network.get("IPAddress") or ""
            for name, network in networks.items()
            if network.get("IPAddress")
        },
        gateways={
            name: network["Gateway"] for name, network in networks.items() if network.get("Gateway")
        },
        ports=tuple(_ports((raw.get("NetworkSettings") or {}).get("Ports") or {})),
        networks=tuple(sorted(networks)),
        memory_limit=host.get("Memory") or 0,
        cpu_limit=(host.get("NanoCpus") or 0) / 1e9,
        restart_policy=(host.get("RestartPolicy") or {}).get("Name") or "no",
        oneoff=marks.get(labels.ONEOFF) == "True",
        pid=state.get("Pid") or 0,
    )


def observed_network(raw: dict[str, Any], members: Iterable[str]) -> ObservedNetwork:
    """Return the network of one entry of ``GET /networks``; ``members`` are its container ids."""
    blocks = (raw.get("IPAM") or {}).get("Config") or []
    return ObservedNetwork(
        id=raw["Id"],
        name=raw["Name"],
        subnets=tuple(block["Subnet"] for block in blocks if block.get("Subnet")),
        labels=raw.get("Labels") or {},
        driver=raw.get("Driver") or "",
        members=frozenset(members),
    )


def _health(raw: dict[str, Any]) -> Health:
    status: Health = raw.get("Status") or "none"
    # After a pause, the engine reports a container as "unhealthy" until the next probe, although
    # no probe has failed.
    if status == "unhealthy" and raw.get("FailingStreak") == 0:
        return "starting"
    return status


def _spec(text: str) -> dict[str, Any]:
    """Parse our specification label. A damaged one counts as empty: only reasons depend on it."""
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _ports(raw: dict[str, Any]) -> Iterable[str]:
    for container_port, bindings in sorted(raw.items()):
        for binding in bindings or []:
            yield f"{with_port(binding['HostIp'], binding['HostPort'])}->{container_port}"


def container_event(raw: dict[str, Any], environment: str) -> ContainerEvent | None:
    """Return one event of ``GET /events``; None if it is unlabelled or of another environment."""
    actor = raw.get("Actor") or {}
    marks: dict[str, str] = actor.get("Attributes") or {}
    if marks.get(labels.ENVIRONMENT) != environment or labels.SERVICE not in marks:
        return None
    details = [f"{key} {marks[key]}" for key in ("exitCode", "signal") if key in marks]
    return ContainerEvent(
        time=raw["timeNano"] / 1e9,
        service=marks[labels.SERVICE],
        stack=marks.get(labels.STACK, ""),
        container_id=actor.get("ID", ""),
        action=raw["Action"],
        detail=", ".join(details),
    )
