"""The engine's JSON → our values."""

from __future__ import annotations

from typing import Any

import pytest

from mmstack_ops.adapters.engine.inspection import container_event, observed_container
from mmstack_ops.domain.stacks import labels


def raw(**state: Any) -> dict[str, Any]:
    return {
        "Id": "c" * 64,
        "Name": "/shop-test-core-a-2",
        "Image": "sha256:1",
        "RestartCount": 4,
        "Config": {
            "Image": "a:1",
            "Labels": {
                labels.ENVIRONMENT: "test",
                labels.STACK: "core",
                labels.SERVICE: "a",
                labels.NUMBER: "2",
                labels.SPEC: '{"image": "a:1"}',
                labels.ONEOFF: "False",
            },
        },
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "StartedAt": "2026-01-02T03:04:05.123456789Z",
            "Pid": 42,
            **state,
        },
        "HostConfig": {
            "Memory": 64,
            "NanoCpus": 1_500_000_000,
            "RestartPolicy": {"Name": "always"},
        },
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
                "81/tcp": None,
            },
            "Networks": {"n2": {"IPAddress": "10.0.0.2"}, "n1": {"IPAddress": ""}},
        },
    }


def test_a_container_is_reduced_to_what_counts() -> None:
    seen = observed_container(raw())
    assert (seen.name, seen.service, seen.number) == ("shop-test-core-a-2", "a", 2)
    assert seen.spec == {"image": "a:1"}
    assert seen.ports == ("127.0.0.1:8080->80/tcp",)
    assert seen.networks == ("n1", "n2")
    assert seen.addresses == {"n2": "10.0.0.2"}
    assert (seen.memory_limit, seen.cpu_limit, seen.restart_policy) == (64, 1.5, "always")
    assert seen.restart_count == 4
    assert seen.health == "none"
    assert not seen.oneoff


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ({"Status": "healthy", "FailingStreak": 0}, "healthy"),
        ({"Status": "unhealthy", "FailingStreak": 3}, "unhealthy"),
        # What the engine says of a container that was paused, until its next probe.
        ({"Status": "unhealthy", "FailingStreak": 0}, "starting"),
        ({"Status": "none"}, "none"),
        (None, "none"),
    ],
)
def test_health(health: dict[str, Any] | None, expected: str) -> None:
    assert observed_container(raw(Health=health)).health == expected


def test_the_last_probe_speaks() -> None:
    log = [{"Output": "first"}, {"Output": " last\n"}]
    assert observed_container(raw(Health={"Status": "unhealthy", "Log": log})).health_output == (
        "last"
    )


def test_a_container_that_never_started() -> None:
    assert observed_container(raw(StartedAt="0001-01-01T00:00:00Z")).started_at == ""


@pytest.mark.parametrize("label", ["{broken", "[1]", ""])
def test_a_damaged_specification_reads_as_empty(label: str) -> None:
    document = raw()
    document["Config"]["Labels"][labels.SPEC] = label
    assert observed_container(document).spec == {}


def test_events_of_others_are_none() -> None:
    event = {
        "Action": "die",
        "timeNano": 1_500_000_000,
        "Actor": {
            "ID": "c",
            "Attributes": {
                labels.ENVIRONMENT: "test",
                labels.SERVICE: "a",
                labels.STACK: "core",
                "exitCode": "137",
            },
        },
    }
    ours = container_event(event, "test")
    assert ours is not None
    assert (ours.time, ours.service, ours.action, ours.detail) == (1.5, "a", "die", "exitCode 137")
    assert container_event(event, "production") is None
    assert container_event({"Action": "die", "timeNano": 1, "Actor": {}}, "test") is None
