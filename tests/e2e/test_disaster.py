"""Every store of the core stack lost with its volumes, and brought back from its backups."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e import contents
from tests.e2e.product import REPOSITORY, Product
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.fault]

STORES = ("postgres", "redis", "qdrant", "minio", "vllm")
TYPES = ("full", "rdb", "aof", "collection", "bucket", "models")
BENCH = "bench"


def held(product: Product) -> dict[str, Any]:
    return {
        "postgres": contents.of_postgres(product, without=BENCH),
        "redis": contents.of_redis(product),
        "qdrant": contents.of_qdrant(product),
        "minio": contents.of_minio(product),
        "vllm": contents.of_models(product),
    }


def fill_models(product: Product) -> None:
    """A model as the Hugging Face cache keeps it, and what a download leaves on its way."""
    model = contents.models_folder(product) / "hub" / "models--lab--tiny"
    weights = os.urandom(3_000_000)
    blob = hashlib.sha256(weights).hexdigest()
    for folder in ("blobs", "refs", "snapshots/abc"):
        (model / folder).mkdir(parents=True)
    (model / "blobs" / blob).write_bytes(weights)
    (model / "refs" / "main").write_text("abc")
    (model / "snapshots/abc/model.safetensors").symlink_to(f"../../blobs/{blob}")


def lose(product: Product, *services: str) -> None:
    """Take containers and volumes away, as a broken disk does."""
    for service in services:
        container = product.one(service)
        volumes = [m["Name"] for m in container.attrs["Mounts"] if m["Type"] == "volume"]
        assert volumes
        container.remove(force=True)
        for name in volumes:
            product.engine.volumes.get(name).remove()


def restored(product: Product, *wanted: str) -> list[dict[str, Any]]:
    plan = product.done("restore", *wanted, "--plan", "--json").document()
    ended = product.done(
        *("restore", *wanted, "--confirm", plan["confirmation"], "--json"), seconds=300
    )
    results: list[dict[str, Any]] = ended.document()["runs"][0]["results"]
    return results


def begin_load(product: Product) -> None:
    """Let pgbench write until its server goes away."""
    postgres = product.one("postgres")
    user = '-U "${POSTGRES_USER:-postgres}"'
    contents.shell(postgres, f"createdb {user} {BENCH}")
    program = "$(ls /usr/lib/postgresql/*/bin/pgbench)"
    contents.shell(postgres, f"{program} {user} -q -i -s 2 {BENCH}")
    # At a rate: a server that writes as fast as it can takes the processors from other tests.
    load = f"{program} {user} -n -c 4 -R 100 -T 600 {BENCH}"
    postgres.exec_run(["sh", "-c", load], detach=True)
    wait_until(lambda: transactions(product) > 100, seconds=120)


def transactions(product: Product) -> int:
    return int(contents.sql(product, "SELECT count(*) FROM pgbench_history", BENCH))


def test_the_core_stack_comes_back_as_it_was_under_load(product: Product) -> None:
    product.done("start", *STORES)
    seed = [sys.executable, str(REPOSITORY / "lab" / "sample" / "seed.py")]
    environment = {**os.environ, **product.environment}
    subprocess.run(seed, cwd=product.root, env=environment, check=True)
    fill_models(product)
    begin_load(product)
    before = held(product)
    first = transactions(product)

    wanted = [argument for kind in TYPES for argument in ("--type", kind)]
    ended = product.done("backup", "run", *STORES, *wanted, "--no-copy", "--json", seconds=300)
    (run,) = ended.document()["runs"]
    assert len(run["results"]) == len(TYPES)
    last = transactions(product)
    assert last > first

    lose(product, *STORES)
    done = restored(product, *STORES)
    assert len(done) == len(STORES)
    after = held(product)
    for store in STORES:
        assert after[store] == before[store], f"{store} isn't what it was"
    assert len(after["redis"]) > 1000
    assert len(after["minio"]) == 5 * 60  # the sample data: five buckets of sixty objects
    assert len(after["vllm"]) >= 8

    # Of what was written meanwhile there is one moment, whole: each transaction changes one
    # row in each of four tables by the same amount, or in none.
    assert first <= transactions(product) <= last
    sums = {
        contents.sql(product, f"SELECT coalesce(sum({column}), 0) FROM {table}", BENCH)
        for table, column in (
            ("pgbench_accounts", "abalance"),
            ("pgbench_tellers", "tbalance"),
            ("pgbench_branches", "bbalance"),
            ("pgbench_history", "delta"),
        )
    }
    assert len(sums) == 1

    # The whole server, now that nobody writes.
    everything = contents.of_postgres(product)
    assert "pgbench_history" in everything
    product.done("backup", "run", "postgres", "--type", "full", "--no-copy")
    lose(product, "postgres")
    restored(product, "postgres", "--type", "full")
    assert contents.of_postgres(product) == everything

    for kind in ("rdb", "aof"):
        lose(product, "redis")
        restored(product, "redis", "--type", kind)
        assert contents.of_redis(product) == before["redis"], kind
