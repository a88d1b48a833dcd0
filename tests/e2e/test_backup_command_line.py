"""Backups on a real engine, by the command line: taken, listed, verified, proven, restored."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.product import Product, Ui, end_of

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SERVICES = ("postgres", "redis")


@pytest.fixture(scope="module")
def backed_up(product: Product) -> dict[str, Any]:
    """Two databases with a little data, and one backup of each."""
    product.done("start", *SERVICES)
    query(product, "CREATE TABLE people (name text); INSERT INTO people VALUES ('Ada'), ('Alan')")
    ended = product.done(
        *("backup", "run", *SERVICES, "--type", "full", "--type", "rdb"),
        *("--no-copy", "--json"),
    )
    found: dict[str, Any] = ended.document()
    return found


def query(product: Product, sql: str) -> str:
    container = product.one("postgres")
    user = 'psql -U "${POSTGRES_USER:-postgres}" -d postgres -Atc'
    code, output = container.exec_run(["sh", "-c", f'{user} "$0"', sql])
    assert code == 0, output
    return str(output.decode().strip())


def newest(product: Product, series: str) -> str:
    service, kind = series.split("/")
    ended = product.done("backup", "list", service, "--type", kind, "--json")
    return str(ended.document()["backups"][0]["backup"])


def test_a_backup_is_a_run_with_figures(product: Product, backed_up: dict[str, Any]) -> None:
    (run,) = backed_up["runs"]
    assert run["success"]
    assert run["failed"] == []
    by_series = {one["backup"].rsplit("/", 1)[0]: one for one in run["results"]}
    assert set(by_series) == {"development/postgres/full", "development/redis/rdb"}
    assert all(one["stored_bytes"] > 0 for one in by_series.values())
    assert all(one["figures"] for one in by_series.values())


def test_status_and_list_show_it_at_once(product: Product, backed_up: dict[str, Any]) -> None:
    ended = product.done("backup", "status", "postgres", "--json")
    full = next(one for one in ended.document()["series"] if one["type"] == "full")
    assert full["count"] == 1
    assert not full["late"]
    assert newest(product, "postgres/full") in product.done("backup", "list").stdout
    shown = product.done("backup", "show", newest(product, "postgres/full")).stdout
    assert "restore by hand" in shown
    assert "pg_restore" in shown


def test_copies_are_verified(product: Product, backed_up: dict[str, Any]) -> None:
    document = product.done("verify", *SERVICES, "--json", seconds=240).document()
    results = document["runs"][0]["results"]
    assert len(results) == 2
    assert all(one["ok"] and one["checked_bytes"] > 0 for one in results)


def test_backups_are_proven_and_the_proof_is_kept(
    product: Product, backed_up: dict[str, Any]
) -> None:
    ended = product.done(
        "drill", *SERVICES, "--type", "full", "--type", "rdb", "--json", seconds=300
    )
    proofs = ended.document()["runs"][0]["results"]
    assert len(proofs) == 2
    assert all(one["ok"] and one["compared"] > 0 for one in proofs)
    status = product.done("backup", "status", *SERVICES, "--json").document()
    proven = {one["service"] for one in status["series"] if one["last_proven"]}
    assert proven == set(SERVICES)


def test_a_held_backup_says_so(product: Product, backed_up: dict[str, Any]) -> None:
    ref = newest(product, "redis/rdb")
    product.done("hold", ref, "--reason", "the audit")
    assert "the audit" in product.done("backup", "list", "redis").stdout
    product.done("unhold", ref)
    assert "the audit" not in product.done("backup", "list", "redis").stdout


def test_a_restore_is_planned_confirmed_and_undoes_the_damage(
    product: Product, backed_up: dict[str, Any]
) -> None:
    query(product, "DELETE FROM people")
    plan = product.done("restore", "postgres", "--type", "full", "--plan", "--json").document()
    assert plan["confirmation"] == "development/postgres"
    refused = product.mmstack("restore", "postgres", "--type", "full", "--confirm", "yes")
    assert refused.code == 2
    assert query(product, "SELECT count(*) FROM people") == "0"
    product.done(
        *("restore", "postgres", "--type", "full", "--confirm", plan["confirmation"]),
        seconds=300,
    )
    assert query(product, "SELECT string_agg(name, ',' ORDER BY name) FROM people") == "Ada,Alan"


def test_no_secret_is_in_the_history_or_in_what_was_said(
    product: Product, backed_up: dict[str, Any]
) -> None:
    secrets = product.secrets()
    assert len(secrets) >= 15
    assert not any(secret in json.dumps(backed_up) for secret in secrets)
    kept = [path for path in product.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in kept)
    holding = [
        str(path)
        for path in kept
        if any(secret.encode() in path.read_bytes() for secret in secrets)
    ]
    assert holding == []


def test_a_tier_that_is_not_there_is_noted_and_hinders_nothing(
    product: Product, backed_up: dict[str, Any]
) -> None:
    ended = product.done("backup", "run", "redis", "--type", "rdb")
    assert "not copied to remote, it catches up later" in ended.stderr
    assert product.mmstack("backup", "copy", "--to", "remote").code == 1


def test_the_ui_takes_a_backup_and_shows_its_checks(
    product: Product, backed_up: dict[str, Any], ui: Ui
) -> None:
    key = ["development", "backup", "local", "redis_rdb"]
    run = ui.materialize(key)
    ui.wait_for(run, "SUCCESS")
    found = ui.ask(
        """query ($path: [String!]!) {
             assetOrError(assetKey: {path: $path}) { ... on Asset {
               assetMaterializations(limit: 1) { runId metadataEntries { label
                 ... on IntMetadataEntry { intValue } } } } }
             assetCheckExecutions(assetKey: {path: $path}, checkName: "age", limit: 1) {
               runId evaluation { success description } } }""",
        path=key,
    )
    (made,) = found["assetOrError"]["assetMaterializations"]
    assert made["runId"] == run
    numbers = {entry["label"]: entry.get("intValue") for entry in made["metadataEntries"]}
    assert numbers["stored_bytes"] > 0
    (check,) = found["assetCheckExecutions"]
    assert check["runId"] == run
    assert check["evaluation"]["success"]


def test_two_backups_of_one_service_take_turns(product: Product, backed_up: dict[str, Any]) -> None:
    run = ("backup", "run", "postgres", "--type", "full", "--no-copy", "--json")
    both = [product.begin(*run) for _ in range(2)]
    done = []
    for process in both:
        ended = end_of(process)
        assert ended.code == 0, ended.text
        done += ended.document()["runs"][0]["results"]
    first, second = sorted(done, key=lambda one: one["backup"])
    assert first["backup"] != second["backup"]
    seen = product.done("verify", first["backup"], second["backup"], "--json", seconds=240)
    assert [one["ok"] for one in seen.document()["runs"][0]["results"]] == [True, True]


@pytest.mark.parametrize(
    "rows", [440_000, pytest.param(3_400_000, marks=pytest.mark.soak)], ids=["650 MB", "5 GB"]
)
def test_a_large_table_takes_no_more_memory_than_a_small_one(
    product: Product, backed_up: dict[str, Any], rows: int
) -> None:
    """What a backup holds of it at once doesn't grow with it."""
    query(
        product,
        "CREATE UNLOGGED TABLE large AS"
        " SELECT n, md5(n::text) AS own, repeat(md5((n % 1000)::text), 46) AS filler"
        f" FROM generate_series(1, {rows}) AS n",
    )
    run = ("backup", "run", "postgres", "--type", "full", "--no-copy", "--json")
    process = product.begin(*run)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.05)
    ended = end_of(process)
    assert ended.code == 0, ended.text
    (done,) = ended.document()["runs"][0]["results"]
    assert done["plain_bytes"] > rows * 1_480 > 3 * (200 << 20)
    assert 50 << 20 < peak <= 200 << 20, f"{peak >> 20} MiB"
    query(product, "DROP TABLE large")


def peak_memory(pid: int) -> int:
    """Return the most memory a process had resident, in bytes; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) << 10 if found else 0
