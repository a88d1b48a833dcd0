"""What a proof covers is what the manifests say, not only the name of a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.artifacts.records import write_proof
from mmstack_ops.domain.backups.events import Proof
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import SeriesStatus
from tests.operations.backups.test_prune import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def prove(world: World, ref: BackupRef) -> None:
    same = Comparison(compared=3, differences=(), total_differences=0)
    for name in ("local", "remote"):
        write_proof(world.tiers[name], Proof(ref, name, world.now, 1, 1, same, "image"))


def rewrite(world: World, ref: BackupRef, old: bytes, new: bytes) -> None:
    for tier in world.tiers.values():
        content = tier.files[ref.manifest_key]
        assert old in content
        tier.files[ref.manifest_key] = content.replace(old, new)


def status(world: World) -> SeriesStatus:
    return next(one for one in world.control.status(["postgres"]) if one.series.type == "full")


def test_a_proof_of_a_backup_that_covers_all_is_complete(world: World) -> None:
    prove(world, world.take(0))
    found = status(world)
    assert found.last_proven is not None
    assert found.last_proven.complete
    assert found.not_covered == ""


def test_a_proof_from_before_there_was_an_inventory_is_one_in_part(world: World) -> None:
    ref = world.take(0)
    prove(world, ref)
    rewrite(world, ref, b'"format": 2', b'"format": 1')
    found = status(world)
    assert found.last_proven is not None
    assert not found.last_proven.complete
    assert "without an inventory" in found.not_covered
    assert found.not_covered_names == ()


def test_what_only_the_newest_backup_lacks_is_named_too(world: World) -> None:
    prove(world, world.take(1))
    newest = world.take(0)
    rewrite(
        world,
        newest,
        b'"not_covered": [],\n  "not_covered_count": 0',
        b'"not_covered": [{"name": "database x", "reason": "why"}],\n  "not_covered_count": 1',
    )
    found = status(world)
    assert found.last_proven is not None
    assert not found.last_proven.complete
    assert found.not_covered_names == ("database x",)
    assert "database x (why)" in found.not_covered
