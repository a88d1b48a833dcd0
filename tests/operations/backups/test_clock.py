"""A clock that went wrong, as the whole control sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from tests.adapters.config_project import make_project
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, take_dump

HOUR = timedelta(hours=1)


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupOperations:
    """Backups of postgres: an hour ago, and while the clock was a day ahead."""
    project = make_project(tmp_path, monkeypatch)
    generate(project, project.catalogue("development"))
    tiers = {name: MemoryTier(name) for name in ("local", "remote")}
    monkeypatch.setattr(
        "mmstack_ops.adapters.storage.open_tier.open_tier", lambda name, *_, **__: tiers[name]
    )
    for moment in (NOW - HOUR, NOW + 24 * HOUR):
        take_dump(tiers["local"], named(moment))
    return BackupOperations(project, "development", now=lambda: NOW)


def named(moment: datetime) -> BackupRef:
    return BackupRef("development", "postgres", "full", new_id(moment, b"0000"))


def test_a_backup_of_the_future_is_listed_and_makes_nothing_young(
    control: BackupOperations,
) -> None:
    future, past = named(NOW + 24 * HOUR), named(NOW - HOUR)
    assert [row.ref for row in control.backups()] == [future, past]
    (status,) = (s for s in control.status(["postgres"]) if s.series.type == "full")
    assert status.age == HOUR.total_seconds()
    assert not status.late
    assert control.due_drills() == (past,)
    assert {one.ref for one in control.missing_copies("remote")} == {future, past}


def test_the_next_run_is_the_second_of_a_time_that_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Dagster takes it: the clean-up of staging is at 2, and the clock goes from 3 to 2."""
    project = make_project(tmp_path, monkeypatch)
    text = project.schema_path.read_text()
    assert "\n  timezone: UTC\n" in text
    text = text.replace("\n  timezone: UTC\n", "\n  timezone: Europe/Berlin\n")
    project.schema_path.write_text(text)
    now = datetime.fromisoformat("2026-10-24T12:00Z")
    found = BackupOperations(project, "staging", now=lambda: now).next_cleanup()
    assert found is not None
    assert found.isoformat() == "2026-10-25T02:00:00+01:00"
