"""Retention by the command line: the plan that is shown is what is carried out, as a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.artifacts.records import hold, write_verified
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from tests.e2e.product import Product, Ui
from tests.operations.backups.sample_backups import take_dump

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def history(product: Product) -> list[BackupRef]:
    """Backups of the local tier, verified: today's, two old ones, an old one on hold."""
    (local,) = (
        tier
        for tier in product.done("backup", "tiers", "--json").document()["tiers"]
        if tier["name"] == "local"
    )
    tier = DirectoryTier("local", product.root / local["location"])
    refs = []
    for days in (0, 10, 11, 12):
        moment = NOW - timedelta(days=days)
        ref = BackupRef("development", "postgres", "full", new_id(moment, b"abcd"))
        take_dump(tier, ref)
        write_verified(tier, VerifyResult(ref, "local", NOW, 1.0, 10, ()))
        refs.append(ref)
    hold(tier, refs[3], "an audit")
    return refs


def listed(product: Product) -> list[str]:
    rows: list[dict[str, Any]] = product.done("backup", "list", "--json").document()["backups"]
    return [row["backup"] for row in rows]


def test_what_is_shown_is_carried_out(product: Product, history: list[BackupRef]) -> None:
    plan = product.done("retention", "test", "--json").document()
    (series,) = plan["series"]
    gone = {one["id"] for one in series["backups"] if one["delete"]}
    assert gone == {history[1].id, history[2].id}
    assert listed(product) == [str(ref) for ref in history]

    refused = product.mmstack("retention", "cleanup")
    assert refused.code == 2
    assert "give --yes" in refused.stderr

    done = product.done("retention", "cleanup", "--yes", "--json").document()
    (result,) = done["runs"][0]["results"]
    assert set(result["deleted"]) == {str(history[1]), str(history[2])}
    assert result["freed_bytes"] == series["bytes"]
    assert listed(product) == [str(history[0]), str(history[3])]

    again = product.done("retention", "cleanup")
    assert "nothing to do" in again.stdout


def test_the_ui_shows_what_went(product: Product, history: list[BackupRef], ui: Ui) -> None:
    found = ui.ask(
        """query ($path: [String!]!) { assetOrError(assetKey: {path: $path}) { ... on Asset {
             assetMaterializations(limit: 1) { metadataEntries { label
               ... on IntMetadataEntry { intValue } } } } } }""",
        path=["development", "retention", "local", "postgres"],
    )
    (made,) = found["assetOrError"]["assetMaterializations"]
    numbers = {entry["label"]: entry.get("intValue") for entry in made["metadataEntries"]}
    assert numbers["deleted_backups"] == 2
    assert numbers["kept_backups"] == 2
    assert numbers["freed_bytes"] > 0
