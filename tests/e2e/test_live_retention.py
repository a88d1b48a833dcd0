"""Live data by the command line: shown, backed up and verified, then let go, as a run."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path

import pytest
import zstandard

from tests.e2e.contents import sql
from tests.e2e.product import Product, Ui
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.fault]


@pytest.fixture(scope="module")
def database(product: Product) -> str:
    """A server whose tables aren't all there yet; its own database."""
    product.done("start", "postgres")
    return sql(product, "SELECT datname FROM pg_database WHERE datname NOT IN"
               " ('postgres', 'litellm', 'n8n') AND NOT datistemplate")  # fmt: skip


def test_a_declared_table_that_is_missing_fails_its_rule_and_no_other(
    product: Product, database: str
) -> None:
    for table in ("logs", "sessions"):
        sql(
            product,
            f"CREATE TABLE {table} (id int, created_at timestamptz);"
            f"INSERT INTO {table} SELECT n, now() - n * interval '6 hours'"
            " FROM generate_series(0, 99) n",
            database,
        )
    shown = product.done("retention", "test", "postgres").stdout
    assert "rows audit_logs of postgres deletes nothing" in shown
    assert "has no table public.audit_logs" in shown
    ended = product.mmstack("retention", "cleanup", "postgres", "--yes")
    assert ended.code == 1
    assert "has no table public.audit_logs" in ended.text
    assert "Traceback" not in ended.text
    # Seven days and one, a row each six hours.
    assert sql(product, "SELECT count(*) FROM logs", database) in ("28", "29")
    assert sql(product, "SELECT count(*) FROM sessions", database) in ("4", "5")
    sql(
        product,
        "CREATE TABLE audit_logs (id int, created_at timestamptz);"
        "INSERT INTO audit_logs SELECT n, now() - n * interval '1 day'"
        " FROM generate_series(0, 49) n",
        database,
    )


def test_a_verified_backup_and_an_archive_come_before_anything_goes(
    product: Product, database: str
) -> None:
    plan = product.done("retention", "test", "postgres", "--json").document()["live"]
    going = {one["rule"]: one["found"]["expired"] for one in plan["rules"]}
    # The environment keeps postgres' data for 30 days: shorter than the rule's 90.
    assert going["rows audit_logs"] == 20
    done = product.done("retention", "cleanup", "postgres", "--yes", "--json").document()
    results = {one["rule"]: one for one in done["runs"][0]["results"]}
    audit = results["rows audit_logs"]
    assert audit["deleted"] == 20
    verified = product.done("backup", "list", "postgres", "--json").document()["backups"]
    (backup,) = (one for one in verified if one["backup"] == audit["backup"])
    assert backup["copies"]["local"]["verified_at"]
    (note,) = (note for note in audit["notes"] if note.startswith("archived in"))
    folder = note.removeprefix("archived in ").partition(":")[0]
    assert folder.startswith(str(product.root))
    assert sql(product, "SELECT count(*) FROM audit_logs", database) == "30"
    again = product.done("retention", "cleanup", "postgres")
    assert "nothing to do" in again.stdout


def archives(product: Product, below: str = "**/") -> set[Path]:
    """Return the whole archives. Of the other folders of the product some go at any moment."""
    return set((product.root / ".mmstack" / "backups" / "archives").rglob(f"{below}*.zst"))


def archived(product: Product) -> set[int]:
    """Return the ids of all rows that stand in whole archives of audit_logs."""
    found: set[int] = set()
    for path in archives(product, "*audit_logs*/**/"):
        with zstandard.open(path, "rt") as lines:
            found |= {int(row["id"]) for row in csv.DictReader(lines)}
    return found


def ids(product: Product, database: str, table: str) -> set[int]:
    """Return the ids of a table's rows."""
    found = sql(product, f"SELECT string_agg(id::text, ',') FROM {table}", database)
    return {int(one) for one in found.split(",") if one}


@pytest.mark.parametrize("moment", ["at the first archive", "later"])
def test_a_whole_clean_up_that_is_killed_loses_nothing(
    product: Product, database: str, moment: str
) -> None:
    rows = 40_000
    first = int(sql(product, "SELECT coalesce(max(id), 0) + 1 FROM audit_logs", database))
    sql(
        product,
        "INSERT INTO audit_logs SELECT n, now() - interval '40 days' - n * interval '1 second'"
        f" FROM generate_series({first}, {first + rows - 1}) n",
        database,
    )
    others = {table: ids(product, database, table) for table in ("logs", "sessions")}
    old = set(range(first, first + rows))
    young = ids(product, database, "audit_logs") - old
    assert len(young) == 30
    before = archives(product)
    # Nearly all of the table: an operator has to say that this is right.
    clean_up = ("retention", "cleanup", "postgres", "--yes", "--accept-many")
    process = product.begin(*clean_up)
    try:
        wait_until(
            lambda: archives(product) != before or process.poll() is not None,
            seconds=90,
        )
        if moment == "later":
            time.sleep(random.Random(20261124).uniform(0.05, 0.3))
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -9
    # Whatever went by now is old, and stands in a whole archive.
    left = ids(product, database, "audit_logs")
    assert young <= left
    assert old - left <= archived(product)
    for table, there in others.items():
        assert ids(product, database, table) == there
    product.done(*clean_up)
    assert ids(product, database, "audit_logs") == young
    # Twice where it was killed between archive and commit, but never less than once.
    assert old <= archived(product)
    for table, there in others.items():
        assert ids(product, database, table) == there
    assert product.mmstack("retention", "test", "postgres").code == 0


def test_the_ui_shows_what_went(product: Product, database: str, ui: Ui) -> None:
    found = ui.ask(
        """query ($path: [String!]!) { assetOrError(assetKey: {path: $path}) { ... on Asset {
             assetMaterializations(limit: 1) { metadataEntries { label
               ... on IntMetadataEntry { intValue } } } } } }""",
        path=["development", "retention", "live", "postgres"],
    )
    (made,) = found["assetOrError"]["assetMaterializations"]
    numbers = {entry["label"]: entry.get("intValue") for entry in made["metadataEntries"]}
    assert numbers["deleted_rows"] >= 20
    assert numbers["freed_bytes"] > 0
