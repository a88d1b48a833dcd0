"""Real servers of the lab as instances, for tests of backup types."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.instances import instance_of
from mmstack_ops.adapters.tool_containers.workbench import EngineWorkbench
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.service import Service
from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks.spec import (
    Attachment,
    ContainerSpec,
    HealthSpec,
    ImageSource,
    MountSpec,
)
from tests.integration.world import ENVIRONMENT, POSTGRES, World

REDIS = "mmstack-lab/redis:lab"
PASSWORD = "correct:horse\\battery 'staple'"
"""With all that a password file, a shell and SQL treat specially."""
_SCHEMA = Path(__file__).parents[3] / "schemas" / "compose-schema.yaml"
_REDIS_SCRIPT = (
    "exec docker-entrypoint.sh redis-server - --protected-mode no <<EOF\n"
    'requirepass "$(cat /run/secrets/redis_password || echo redis-password)"\n'
    # Without the five seconds that a server waits for more replicas.
    "repl-diskless-sync-delay 0\nappendonly {appendonly}\nappendfsync everysec\nEOF"
)
REDIS_PASSWORD = "redis-password"


def definition(service: str) -> Service:
    """The project's own definition of a service."""
    return parse_schema(_SCHEMA.read_text(), source="schema").services[service]


def values() -> EnvironmentValues:
    return EnvironmentValues(
        variables={},
        secret_variables=frozenset(),
        secrets={
            "postgres_password": PASSWORD,
            "redis_password": REDIS_PASSWORD,
            "n8n_encryption_key": "a key for tests",
        },
        digest_key=b"key",
        secret_directory="/nonexistent",
    )


@dataclass
class Bench:
    """A workbench of one test, and what it told."""

    world: World
    state: Path
    told: list[str] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.bench = EngineWorkbench(
            self.world._write,
            owner=self.world.owner,
            environment=ENVIRONMENT,
            state=self.state,
            cancel=self.cancel,
            tell=self.told.append,
        )

    def one_shots(self) -> list[str]:
        """Names of one-shot containers that are there."""
        return [name for name in self.world.names() if "-backup-" in name]

    def nothing_left(self) -> None:
        assert self.one_shots() == []
        exchange = self.state / "exchange"
        assert not exchange.exists() or list(exchange.iterdir()) == []


def started(world: World, service: str, *, image: str = POSTGRES, **changes: Any) -> Instance:
    """Start a real server of the lab and return it as an instance."""
    spec = world.service(service, healthy_within=300, image=ImageSource(image, "IMAGE"), **changes)
    world.started(spec)
    container = next(c for c in world.observe().containers if c.service == service)
    return instance_of(
        ENVIRONMENT,
        service,
        definition("redis" if image == REDIS else "postgres"),
        values(),
        spec.replicas[0].container,
        container,
    )


def postgres(
    world: World,
    service: str = "postgres",
    *,
    image: str = POSTGRES,
    command: tuple[str, ...] | None = None,
) -> Instance:
    """A PostgreSQL server whose superuser and database have awkward names."""
    volume = world.volume(f"{service}_data")
    return started(
        world,
        service,
        image=image,
        environment={
            "POSTGRES_USER": "app owner",
            "POSTGRES_DB": "app",
            "POSTGRES_PASSWORD": PASSWORD,
        },
        command=command,
        mounts=(MountSpec("volume", volume.name, "/var/lib/postgresql/data"),),
        health=HealthSpec(
            test=("CMD-SHELL", "pg_isready -q -h 127.0.0.1"),
            interval=0.5,
            timeout=30,
            retries=40,
            start_period=300,
            start_interval=0.5,
        ),
        stop_signal="SIGINT",
        stop_grace_period=20,
    )


def redis(world: World, service: str = "redis", *, appendonly: bool = True) -> Instance:
    """A Redis server with a password and a volume."""
    volume = world.volume(f"{service}_data")
    return started(
        world,
        service,
        image=REDIS,
        entrypoint=("sh", "-c"),
        command=(_REDIS_SCRIPT.format(appendonly="yes" if appendonly else "no"),),
        mounts=(MountSpec("volume", volume.name, "/data"),),
        health=HealthSpec(
            test=("CMD-SHELL", f"REDISCLI_AUTH={REDIS_PASSWORD} redis-cli ping | grep -q PONG"),
            interval=0.5,
            timeout=30,
            retries=20,
            start_period=300,
            start_interval=0.5,
        ),
        stop_grace_period=10,
    )


def redis_spec(world: World) -> ContainerSpec:
    """The specification of a Redis server that another process has started."""
    return ContainerSpec(
        image=REDIS,
        command=(_REDIS_SCRIPT,),
        mounts=(MountSpec("volume", f"{world.project}_redis_data", "/data"),),
        networks=(Attachment(world.network.name, ("redis",)),),
    )
