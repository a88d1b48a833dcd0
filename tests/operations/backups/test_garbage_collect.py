"""Garbage collection: what is referenced is never lost, wherever it is interrupted."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mmstack_ops.artifacts.delete import delete_backup
from mmstack_ops.artifacts.records import hold, release
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.errors import (
    ArtifactError,
    ImmutableError,
    LockHeldError,
    TierUnavailableError,
)
from mmstack_ops.operations.backups.garbage_collect import sweep_series
from mmstack_ops.operations.backups.series_lock import series_lock
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, read_back, ref_at, take_dump, take_tree

LATER = NOW + timedelta(days=30)


def sweep(tier: MemoryTier, now: datetime = LATER, told: list[str] | None = None) -> set[str]:
    return set(
        sweep_series(
            tier,
            "testing/minio/bucket",
            now=now,
            tell=(told if told is not None else []).append,
            throttle=Throttle(threading.Event()),
        )
    )


def history() -> tuple[MemoryTier, list[tuple[Manifest, dict[str, bytes]]]]:
    """Three backups, a day apart: the first's packs are half garbage without it."""
    tier = MemoryTier()
    taken = []
    contents = {f"f{number}": bytes([number]) * 3000 for number in range(10)}
    for day in range(3):
        for number in (2 * day, 2 * day + 1):
            contents[f"f{number}"] = bytes([100 + number]) * 3000
        files = [
            TreeFile(path, "object", size=len(content), version=content[:1].hex())
            for path, content in contents.items()
        ]
        moment = NOW + timedelta(days=day)
        ref = ref_at(moment, service="minio", type_name="bucket")
        manifest = take_tree(tier, files, contents, ref=ref, pack_bytes=6000, now=moment)
        taken.append((manifest, dict(contents)))
    return tier, taken


def test_nothing_that_is_named_is_swept() -> None:
    tier, taken = history()
    before = dict(tier.files)
    assert sweep(tier) == set()
    assert tier.files == before
    delete_backup(tier, taken[0][0].ref)
    gone = sweep(tier)
    assert gone
    assert all("/packs/" in key for key in gone)
    for manifest, contents in taken[1:]:
        assert read_back(tier, manifest) == contents


def test_killed_at_any_step_of_deleting_and_sweeping() -> None:
    """The step is done or not done, then the process is gone."""

    class KilledError(BaseException):
        pass

    total = 0
    tier, taken = history()
    delete_backup(tier, taken[0][0].ref)
    sweep(tier)
    total = tier.steps
    start = history()[0].steps
    for fatal in range(start + 1, total + 1):
        tier, taken = history()

        def kill(action: str, key: str, tier: MemoryTier = tier, fatal: int = fatal) -> None:
            if tier.steps == fatal:
                raise KilledError

        tier.on_step = kill
        try:
            delete_backup(tier, taken[0][0].ref)
            sweep(tier)
        except KilledError:
            pass
        tier.on_step = lambda action, key: None
        for manifest, contents in taken[1:]:
            assert read_back(tier, manifest) == contents
        first = taken[0][0]
        if first.ref.manifest_key in tier.files:
            assert read_back(tier, first) == taken[0][1]
        # The next run takes everything the killed one left.
        delete_backup(tier, first.ref)
        sweep(tier)
        named = {manifest.key_of(p) for manifest, _ in taken[1:] for p in manifest.payloads}
        named |= {manifest.ref.manifest_key for manifest, _ in taken[1:]}
        assert set(tier.files) == named


def test_what_is_young_is_kept_and_told() -> None:
    tier, taken = history()
    manifest = taken[2][0]
    tier.delete([manifest.ref.manifest_key])
    told: list[str] = []
    soon = NOW + timedelta(days=2, hours=1)
    assert sweep(tier, soon, told) == set()
    assert any("grace period" in message for message in told)
    assert {key for key in sweep(tier) if key.startswith(manifest.ref.prefix)}
    for other, contents in taken[:2]:
        assert read_back(tier, other) == contents


def test_a_backup_from_the_future_is_young() -> None:
    tier, taken = history()
    tier.delete([taken[2][0].ref.manifest_key])
    assert sweep(tier, NOW - timedelta(days=100)) == set()


def test_a_manifest_that_can_not_be_read_stops_the_sweep() -> None:
    tier, taken = history()
    delete_backup(tier, taken[0][0].ref)
    key = taken[1][0].ref.manifest_key
    tier.files[key] = tier.files[key][:-5]
    before = dict(tier.files)
    with pytest.raises(ArtifactError, match="nothing of"):
        sweep(tier)
    assert tier.files == before


def test_a_tier_that_fails_while_manifests_are_read_deletes_nothing() -> None:
    tier, taken = history()
    delete_backup(tier, taken[0][0].ref)

    def fail(action: str, key: str) -> None:
        if action == "read":
            raise TierUnavailableError("gone")

    tier.on_step = fail
    before = dict(tier.files)
    with pytest.raises(TierUnavailableError):
        sweep(tier)
    assert tier.files == before


def test_payloads_of_a_manifest_in_quarantine_are_kept() -> None:
    tier, taken = history()
    ref = taken[2][0].ref
    tier.files[f"quarantine/{ref.manifest_key}-20260203T000000Z"] = tier.files.pop(ref.manifest_key)
    told: list[str] = []
    assert not [key for key in sweep(tier, told=told) if key.startswith(ref.prefix)]
    assert any("quarantine" in message for message in told)


def test_a_held_backup_is_not_deleted_until_it_is_released() -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    hold(tier, manifest.ref, "audit", at=NOW)
    before = dict(tier.files)
    with pytest.raises(ImmutableError, match="on hold"):
        delete_backup(tier, manifest.ref)
    assert tier.files == before
    release(tier, manifest.ref, at=NOW + timedelta(hours=1))
    assert delete_backup(tier, manifest.ref) > 0
    assert tier.files == {}


def test_two_at_once_wait_for_each_other_or_are_told_who_is_there(tmp_path: Path) -> None:
    def lock(holder: str, wait: float, heard: list[str]) -> object:
        return series_lock(
            tmp_path,
            project="lab",
            tier="local",
            series="testing/minio/bucket",
            holder=holder,
            wait=wait,
            cancel=threading.Event(),
            on_wait=heard.append,
        )

    heard: list[str] = []
    with lock("the nightly backup", 0, heard):  # type: ignore[attr-defined]
        with (
            pytest.raises(LockHeldError, match=r"testing/minio/bucket.*the nightly backup"),
            lock("a sweep", 0, heard),  # type: ignore[attr-defined]
        ):
            raise AssertionError("two holders")
        order: list[str] = []

        def second() -> None:
            with lock("a sweep", 10, heard):  # type: ignore[attr-defined]
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "the nightly backup" in heard[-1]
