"""What BackupOperations does around the parts, without an engine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.errors import BackupError
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from tests.adapters.config_project import make_project
from tests.operations.backups.sample_backups import take_dump


@pytest.mark.parametrize("safety", [True, False])
def test_a_safety_backup_is_marked_before_there_is_anything_to_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safety: bool
) -> None:
    project = make_project(tmp_path, monkeypatch)
    monkeypatch.setenv("MMSTACK_LOCK_DIR", str(tmp_path / "locks"))
    generate(project, project.catalogue("development"))
    seen: list[list[str]] = []

    def killed(ref: BackupRef, tier: Any, *_: object, **__: object) -> None:
        seen.append([file.key for file in tier.list(ref.records_prefix)])
        raise BackupError("killed before anything was stored")

    monkeypatch.setattr("mmstack_ops.operations.backups.take.take_backup", killed)
    control = BackupOperations(project, "development")
    with pytest.raises(BackupError, match="killed"):
        control._back_up(
            Series("redis", "rdb"),
            None,
            "a restore",
            threading.Event(),
            lambda _: None,
            safety=safety,
        )
    (records,) = seen
    assert [("safety-local-" in key) for key in records] == ([True] if safety else [])
    assert control.backups() == ()


def test_the_status_says_how_large_the_newest_backup_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is asked for sizes only where they are shown, and here they are."""
    project = make_project(tmp_path, monkeypatch)
    generate(project, project.catalogue("development"))
    control = BackupOperations(project, "development")
    ref = BackupRef("development", "postgres", "full", "20260131T010000Z-00000000")
    take_dump(control._tier_contents.tiers.open("local"), ref)
    (found,) = (one for one in control.status(["postgres"]) if one.series.type == "full")
    assert found.newest is not None
    assert found.newest.copies["local"].stored_bytes
