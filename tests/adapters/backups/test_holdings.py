"""What is still to be copied to a later tier."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mmstack_ops.adapters.backups.holdings import Holdings
from mmstack_ops.adapters.backups.records import mark_safety
from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from tests.adapters.backups.building import NOW, take_dump
from tests.adapters.backups.fakes import MemoryTier
from tests.adapters.config_project import make_project

LOCAL, REMOTE = "local", "remote"


@pytest.fixture
def tiers() -> dict[str, MemoryTier]:
    return {name: MemoryTier(name) for name in (LOCAL, REMOTE)}


@pytest.fixture
def holdings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiers: dict[str, MemoryTier]
) -> Holdings:
    project = make_project(tmp_path, monkeypatch)
    catalogue = project.catalogue("development")
    generate(project, catalogue)
    monkeypatch.setattr(
        "mmstack_ops.adapters.tiers.open.open_tier", lambda name, *_, **__: tiers[name]
    )
    return Holdings(project, catalogue, lambda: load_values(project, catalogue))


def taken(tier: MemoryTier, hours: int) -> BackupRef:
    moment = NOW + timedelta(hours=hours)
    ref = BackupRef("development", "postgres", "full", new_id(moment, b"0000"))
    take_dump(tier, ref)
    return ref


def test_what_a_later_tier_lacks_is_named_the_newest_first(
    holdings: Holdings, tiers: dict[str, MemoryTier]
) -> None:
    first, second = taken(tiers[LOCAL], 1), taken(tiers[LOCAL], 2)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [second, first]
    take_dump(tiers[REMOTE], second)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [first]
    assert holdings.missing_copies(LOCAL) == ()


def test_a_safety_backup_is_missed_nowhere(
    holdings: Holdings, tiers: dict[str, MemoryTier]
) -> None:
    kept, safety = taken(tiers[LOCAL], 1), taken(tiers[LOCAL], 2)
    mark_safety(tiers[LOCAL], safety, at=NOW)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [kept]
    by_name = {one.name: one for one in holdings.tiers.status(holdings.contents().rows)}
    assert by_name[LOCAL].backups == 2
    assert by_name[REMOTE].missing == 1
