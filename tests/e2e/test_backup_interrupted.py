"""A backup of a real database that is terminated in the UI, or killed: nothing of it counts."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.product import Product, Ui, end_of
from tests.integration.storage.mounts import tmpfs
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.fault]

KEY = ["development", "backup", "local", "postgres_full"]
ROWS = 150_000
FILL = (
    "CREATE TABLE measured AS SELECT n, md5(n::text) AS one, md5((n * 7)::text) AS two"
    f" FROM generate_series(1, {ROWS}) AS n"
)


def _slowly(schema: dict[str, Any]) -> None:
    schema["backup"]["rate_limit"] = "1MB"


def _at_full_speed(schema: dict[str, Any]) -> None:
    schema["backup"].pop("rate_limit", None)


@pytest.fixture(scope="module")
def slow(product: Product) -> Product:
    """A database whose backup takes a while."""
    product.change_schema(_slowly)
    product.done("start", "postgres")
    command = 'psql -U "${POSTGRES_USER:-postgres}" -d postgres -Atc "$0"'
    code, output = product.one("postgres").exec_run(["sh", "-c", command, FILL])
    assert code == 0, output
    return product


def unfinished(product: Product) -> list[Path]:
    """Return the files that are being written on the local tier."""
    return [path for path in product.root.rglob(".incoming/*") if path.is_file()]


def is_dumping(product: Product) -> bool:
    for path in unfinished(product):
        # What is finished meanwhile has got another name.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > 1_000_000:
                return True
    return False


def assert_nothing_counts(product: Product) -> None:
    assert product.done("backup", "list", "--json").document()["backups"] == []
    assert list(product.root.rglob("manifest.json")) == []
    assert product.containers()["postgres"] == "running"


def test_terminate_ends_it_and_nothing_stays(slow: Product, ui: Ui) -> None:
    run = ui.materialize(KEY)
    wait_until(lambda: is_dumping(slow), seconds=300)
    ui.terminate(run)
    ui.wait_for(run, "CANCELED")
    assert_nothing_counts(slow)
    assert unfinished(slow) == []
    assert [c.name for c in slow.found()] == [slow.one("postgres").name]


def test_a_database_that_dies_in_mid_dump_fails_the_backup(slow: Product) -> None:
    process = slow.begin("backup", "run", "postgres", "--type", "full", "--no-copy")
    wait_until(lambda: is_dumping(slow), seconds=300)
    slow.one("postgres").kill()
    ended = end_of(process)
    assert ended.code == 1
    assert "Traceback" not in ended.text
    assert "postgres/full" in ended.text
    assert "mmstack logs postgres" in ended.text
    refused = slow.mmstack("backup", "run", "postgres", "--type", "full", "--no-copy")
    assert refused.code == 1
    assert "postgres doesn't run" in refused.text
    slow.done("start", "postgres")
    assert_nothing_counts(slow)
    assert unfinished(slow) == []


def test_a_killed_backup_holds_up_nothing_and_its_leftovers_go(slow: Product) -> None:
    process = slow.begin("backup", "run", "postgres", "--type", "full", "--no-copy")
    wait_until(lambda: is_dumping(slow), seconds=300)
    process.kill()
    assert end_of(process).code == -9
    assert_nothing_counts(slow)

    slow.change_schema(_at_full_speed)
    ended = slow.done("backup", "run", "postgres", "--type", "full", "--no-copy", "--json")
    (done,) = ended.document()["runs"][0]["results"]
    (row,) = slow.done("backup", "list", "--json").document()["backups"]
    assert row["backup"] == done["backup"]
    # What may belong to a backup at work is kept for a while: this file has waited long enough.
    (left,) = unfinished(slow)
    os.utime(left, (0, 0))
    slow.done("backup", "sweep", "--tier", "local")
    assert unfinished(slow) == []
    assert [c.name for c in slow.found()] == [slow.one("postgres").name]
    proof = slow.done("drill", "postgres", "--type", "full", "--json", seconds=180).document()
    assert proof["runs"][0]["results"][0]["ok"]


def test_a_disk_that_gets_full_fails_the_backup_and_nothing_else(slow: Product) -> None:
    slow.change_schema(_at_full_speed)
    run = ("backup", "run", "postgres", "--type", "full", "--no-copy")
    settings = slow.state / "development" / "local.env"
    with tmpfs(slow.root / "small", "4m") as point:
        settings.write_text(f"BACKUP_LOCAL_PATH={point}\n")
        ended = slow.mmstack(*run)
        assert ended.code == 1
        assert "full" in ended.text
        assert "Traceback" not in ended.text
        assert [path for path in point.rglob("*") if path.name == "manifest.json"] == []
        assert [path for path in point.rglob(".incoming/*") if path.is_file()] == []
        subprocess.run(["mount", "-o", "remount,size=100m", str(point)], check=True)
        slow.done(*run)
        assert len(slow.done("backup", "list", "--json").document()["backups"]) == 1
    settings.unlink()


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=pytest.mark.soak)])
def test_wherever_it_is_killed_only_whole_backups_are_listed(slow: Product, kills: int) -> None:
    slow.change_schema(_at_full_speed)
    slow.done("start", "redis")
    rewriting = 'redis-cli --no-auth-warning -a "$(cat /run/secrets/redis_password)" config get'
    ask = ["sh", "-c", f"{rewriting} auto-aof-rewrite-percentage"]
    before = slow.one("redis").exec_run(ask).output
    kinds = ("--type", "full", "--type", "rdb", "--type", "aof")
    run = ("backup", "run", "postgres", "redis", *kinds, "--no-copy")
    begun = time.monotonic()
    slow.done(*run)
    whole = time.monotonic() - begun
    chance = random.Random(20261123 + kills)
    for _ in range(kills):
        process = slow.begin(*run)
        time.sleep(chance.uniform(0.2, 1) * whole)
        process.kill()
        end_of(process)
    slow.done(*run)
    for left in unfinished(slow):
        os.utime(left, (0, 0))
    slow.done("backup", "sweep", "--tier", "local")
    assert unfinished(slow) == []
    listed = slow.done("backup", "list", "--json").document()["backups"]
    assert len(listed) >= 6
    seen = slow.done("verify", *(one["backup"] for one in listed), "--json", seconds=240)
    results = [one for run in seen.document()["runs"] for one in run["results"]]
    assert len(results) == len(listed)
    assert all(one["ok"] for one in results)
    assert slow.one("redis").exec_run(ask).output == before
    assert slow.containers() == {"postgres": "running", "redis": "running"}
    assert len(slow.found()) == 2
