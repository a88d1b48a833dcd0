"""The databases' own types, drilled and restored in place on real servers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.redis.aof import RedisAof
from mmstack_ops.adapters.stores.redis.rdb import RedisRdb
from mmstack_ops.domain.stacks.spec import ImageSource, ServiceSpec
from mmstack_ops.operations.backups.drill import drill
from mmstack_ops.operations.backups.restore import restore
from mmstack_ops.operations.backups.scratch_servers import Recipe
from tests.integration.backups.lab import REDIS_PASSWORD, postgres, redis, values
from tests.integration.backups.plain import captured
from tests.integration.backups.restore_world import RestoreWorld
from tests.integration.backups.scratching import FixedArtifact
from tests.integration.world import World

pytestmark = pytest.mark.integration

_KEPT = (
    "image",
    "entrypoint",
    "command",
    "environment",
    "mounts",
    "health",
    "stop_signal",
    "stop_grace_period",
)


def specification(world: World, instance: Instance) -> ServiceSpec:
    """What the lab's server was started from."""
    fields = {name: getattr(instance.spec, name) for name in _KEPT}
    fields["image"] = ImageSource(instance.spec.image, "IMAGE")
    return world.service(instance.service, healthy_within=300, **fields)


def ask(world: World, service: str, *command: str, user: str = "") -> str:
    live = world.live(service)
    done = live.exec_run(list(command), user=user, environment={"REDISCLI_AUTH": REDIS_PASSWORD})
    assert done.exit_code == 0, done.output
    return str(done.output.decode().strip())


class Redis:
    service = "redis"
    start = staticmethod(redis)

    @staticmethod
    def fill(world: World, text: str) -> None:
        for number in range(20):
            ask(world, "redis", "redis-cli", "set", f"key {number}", f"{text} {number}")

    @staticmethod
    def spoil(world: World) -> None:
        ask(world, "redis", "redis-cli", "flushall")
        ask(world, "redis", "redis-cli", "set", "key 1", "spoilt")

    @staticmethod
    def read(world: World) -> str:
        keys = ask(world, "redis", "redis-cli", "dbsize")
        return keys + ask(world, "redis", "redis-cli", "get", "key 7")


class Postgres:
    service = "postgres"
    start = staticmethod(postgres)

    @staticmethod
    def _sql(world: World, text: str) -> str:
        command = ("psql", "-At", "-U", "app owner", "-d", "app", "-c", text)
        return ask(world, "postgres", *command, user="postgres")

    @classmethod
    def fill(cls, world: World, text: str) -> None:
        cls._sql(world, "create table t (id int primary key, note text)")
        cls._sql(world, f"insert into t select g, '{text} ' || g from generate_series(1, 500) g")

    @classmethod
    def spoil(cls, world: World) -> None:
        cls._sql(world, "drop table t")
        cls._sql(world, "create table spoilt (id int)")

    @classmethod
    def read(cls, world: World) -> str:
        tables = "select string_agg(tablename, ',') from pg_tables where schemaname = 'public'"
        return cls._sql(world, tables) + cls._sql(world, "select count(*), max(note) from t")


@pytest.mark.parametrize(
    ("server", "kind"),
    [(Redis, RedisRdb()), (Redis, RedisAof()), (Postgres, PostgresFull())],
    ids=["redis rdb", "redis aof", "postgres full"],
)
def test_a_database_is_proven_and_restored_in_place(
    world: World, tmp_path: Path, server: Any, kind: Any
) -> None:
    instance = server.start(world)
    spec = specification(world, instance)
    here = RestoreWorld(world, tmp_path, (spec,), kind, instance.definition)
    server.fill(world, "precious")
    good = server.read(world)
    plain = captured(kind, here.bench(), instance, tmp_path / "artifact")
    artifact = FixedArtifact(**vars(plain))
    proof = drill(
        artifact,
        kind,
        Recipe(spec, instance.definition, values()),
        tier="local",
        scratch=here.scratching.servers,
        bench=here.bench(),
        record=lambda _: None,
        on_event=lambda _: None,
    )
    assert proof.proven, proof
    assert here.scratching.left() == []
    server.spoil(world)
    plan = here.plan(here.add(artifact))
    done = restore(plan, here.means, confirmation=plan.confirmation, cancel=threading.Event())
    assert server.read(world) == good
    assert done[0].safety_backup is not None
    assert done[0].comparison.compared > 0
    # And back to what the safety backup holds, as an operator who regrets it would do.
    again = here.plan(done[0].safety_backup)
    restore(again, here.means, confirmation=again.confirmation, cancel=threading.Event())
    assert here.find(server.service).running  # type: ignore[union-attr]
    with pytest.raises(AssertionError):
        assert server.read(world) == good
