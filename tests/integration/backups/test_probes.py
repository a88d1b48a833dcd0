"""Each kind of probe on a real server of the lab: what is right passes, what isn't is told."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from mmstack_ops.adapters.stores.postgres.n8n_credentials import derived
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.adapters.stores.probes import run_probes
from mmstack_ops.domain.schema.probes import (
    N8nCredentialsProbe,
    Probe,
    RedisProbe,
    SqlProbe,
    VectorsProbe,
)
from mmstack_ops.operations.backups.drill import drill
from mmstack_ops.operations.backups.scratch_servers import Recipe
from tests.integration.backups.lab import Bench, postgres, redis, values
from tests.integration.backups.plain import captured
from tests.integration.backups.restore_world import RestoreWorld
from tests.integration.backups.scratching import FixedArtifact
from tests.integration.backups.test_real_types import ask, specification
from tests.integration.backups.vectors import filled, qdrant
from tests.integration.world import World

pytestmark = pytest.mark.integration

KEY = "the key of n8n"


@pytest.fixture
def at(world: World, tmp_path: Path) -> Bench:
    return Bench(world, tmp_path / "state")


def never(_: Instance) -> Instance:
    raise AssertionError("it runs")


def found(at: Bench, instance: Instance, kind: str, *probes: Probe) -> dict[str, tuple[bool, str]]:
    checks = run_probes(probes, kind, at.bench, instance, start=never)
    return {check.name.removeprefix("probe "): (check.passed, check.words) for check in checks}


def sql(name: str, query: str, **fields: Any) -> SqlProbe:
    return SqlProbe(name=name, kind="sql", query=query, **fields)


def fill(instance: Instance) -> None:
    with Server.of(instance).connect("app") as connection:
        connection.execute(b"CREATE TABLE public.users (id int, name text)")
        connection.execute(
            b"INSERT INTO public.users SELECT g, 'u' || g FROM generate_series(1, 5) g"
        )


def test_sql_is_judged_and_cant_write(at: Bench) -> None:
    source = postgres(at.world)
    fill(source)
    results = found(
        at,
        source,
        "full",
        sql("right", "SELECT count(*) FROM users", min=5, max=5),
        sql("few", "SELECT count(*) FROM users", min=6),
        sql("text", "SELECT name FROM users WHERE id = 2", equals="u2"),
        sql("percent", "SELECT count(*) FROM users WHERE name LIKE 'u%'", min=1),
        sql("none", "SELECT id FROM users WHERE id = 99", min=1),
        sql("absent", "SELECT count(*) FROM orders", min=1, if_table="orders"),
        sql("broken", "SELECT count(*) FROM orders", min=1),
        sql("writes", "WITH x AS (DELETE FROM users RETURNING id) SELECT count(*) FROM x", min=1),
        sql("two", "SELECT 1; DROP TABLE users", min=1),
        sql("leaks", "SELECT name::int FROM users WHERE id = 2", min=1),
        sql("elsewhere", "SELECT 1", min=1, database="no such"),
        sql("endless", "SELECT 'infinity'::date", equals="infinity"),
        sql("midnight", "SELECT '24:00'::time", equals="24:00:00"),
        sql("later", "SELECT 'infinity'::date", equals="2026-01-01"),
    )
    assert {name for name, (passed, _) in results.items() if passed} == {
        "right", "text", "percent", "absent", "endless", "midnight",
    }  # fmt: skip
    assert results["right"] == (True, "5")
    assert results["few"] == (False, "5 is less than 6")
    assert results["none"] == (False, "there is no value")
    assert "read-only transaction" in results["writes"][1]
    assert "multiple commands" in results["two"][1]
    assert "InvalidTextRepresentation" in results["leaks"][1]
    assert "u2" not in str(results)
    with Server.of(source).connect("app") as connection:
        assert connection.execute(b"SELECT count(*) FROM public.users").fetchall() == [(5,)]


def encrypted(content: dict[str, str], key: str) -> str:
    """Encrypt as n8n does, with OpenSSL."""
    salt = os.urandom(8)
    made, iv = derived(key.encode(), salt)
    done = subprocess.run(
        ["openssl", "enc", "-aes-256-cbc", "-K", made.hex(), "-iv", iv.hex()],
        input=json.dumps(content).encode(),
        capture_output=True,
        check=True,
    )
    return base64.b64encode(b"Salted__" + salt + done.stdout).decode()


def test_n8ns_key_decrypts_its_credentials_or_the_drill_proves_nothing(
    world: World, tmp_path: Path
) -> None:
    """The whole drill: equal to its backup, and worthless with another key."""
    source = postgres(world)
    spec = specification(world, source)
    here = RestoreWorld(world, tmp_path, (spec,), PostgresFull(), source.definition)
    server = Server.of(source)
    with server.connect("app") as connection:
        connection.execute(b"CREATE DATABASE n8n")
    with server.connect("n8n") as connection:
        connection.execute(
            b"CREATE TABLE public.credentials_entity ("
            b"id varchar(36) primary key, name text, data text)"
        )
        for number in range(3):
            row = (f"id-{number}", "api", encrypted({"token": "precious"}, KEY))
            connection.execute(b"INSERT INTO public.credentials_entity VALUES (%s, %s, %s)", row)
    artifact = FixedArtifact(
        **vars(captured(PostgresFull(), here.bench(), source, tmp_path / "artifact"))
    )
    probe = N8nCredentialsProbe(name="credentials", kind="n8n_credentials", min=1)
    backup = source.definition.backup.model_copy(update={"probes": [probe]})
    definition = source.definition.model_copy(update={"backup": backup})

    def drilled(key: str) -> Any:
        known = replace(values(), secrets={**values().secrets, "n8n_encryption_key": key})
        return drill(
            artifact,
            PostgresFull(),
            Recipe(spec, definition, known),
            tier="local",
            scratch=here.scratching.servers,
            bench=here.bench(),
            record=lambda _: None,
            on_event=lambda _: None,
        )

    proof = drilled(f"{KEY}\n")
    assert proof.proven, proof
    assert [check.words for check in proof.checks] == ["3 credentials decrypt"]
    proof = drilled("another key")
    assert proof.comparison.equal
    assert not proof.proven
    assert proof.unproven.startswith(
        "probe credentials: 3 of 3 credentials don't decrypt with the key: id-"
    )
    assert "precious" not in str(proof)
    assert here.scratching.left() == []


def test_redis_keys_are_judged(at: Bench) -> None:
    source = redis(at.world)
    for command in ("set greeting hello", "rpush jobs a b c", "-n 1 hset user name x"):
        ask(at.world, "redis", "redis-cli", *command.split())

    def key(name: str, key: str, **fields: Any) -> RedisProbe:
        return RedisProbe(name=name, kind="redis", key=key, **fields)

    assert found(
        at,
        source,
        "rdb",
        key("there", "greeting", type="string", min=5, max=5),
        key("any", "jobs"),
        key("other-database", "user", database=1, type="hash"),
        key("gone", "nobody"),
        key("type", "jobs", type="set"),
        key("short", "jobs", min=4),
    ) == {
        "there": (True, "a string, 5 long"),
        "any": (True, "a list"),
        "other-database": (True, "a hash"),
        "gone": (False, "the key isn't there"),
        "type": (False, "the key is a list, not a set"),
        "short": (False, "3 long, at least 4 are expected"),
    }


def test_vectors_are_searched_for(at: Bench) -> None:
    source = qdrant(at.world)
    filled(source)

    def search(name: str, **fields: Any) -> VectorsProbe:
        return VectorsProbe(name=name, kind="vectors", **{"collection": "plain"} | fields)

    results = found(
        at,
        source,
        "collection",
        search("vector", vector=[1, 1, 1, 1], min_results=3),
        search("point", point=1, min_results=3),
        search("many", vector=[1, 1, 1, 1], min_results=1000),
        search("nowhere", vector=[1], collection="none"),
    )
    assert results["vector"] == (True, "3 results")
    assert results["point"] == (True, "3 results")
    assert results["many"][0] is False
    assert "at least 1000 are expected" in results["many"][1]
    assert results["nowhere"][1].startswith("it couldn't be asked: ")
