"""The catalogue: everything the keys say, and quickly."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.records import hold, hold_reason, release, write_proof
from mmstack_ops.domain.backups.events import Proof
from mmstack_ops.domain.backups.facts import Comparison
from mmstack_ops.domain.backups.listing import group, merge
from mmstack_ops.domain.backups.tier import StoredFile, by_folder
from mmstack_ops.domain.errors import TierUnavailableError
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, ref_at, take_dump
from tests.work import lines_run


def test_rows_over_tiers_newest_first() -> None:
    local, remote = MemoryTier("local"), MemoryTier("remote")
    old = take_dump(local, ref_at(NOW))
    take_dump(remote, old.ref)
    new = take_dump(local, ref_at(NOW + timedelta(hours=1)))
    half = ref_at(NOW + timedelta(hours=2))
    local.files[half.key("app.dump.zst")] = b"begun"
    local.files["strange/file"] = b"not ours"
    reads = local.read_bytes
    contents = list_backups([local, remote], ["testing/"])
    assert [row.ref for row in contents.rows] == [new.ref, old.ref]
    assert set(contents.rows[1].copies) == {"local", "remote"}
    size = contents.rows[0].copies["local"].stored_bytes
    assert size == new.stored_bytes + len(local.files[new.ref.manifest_key])
    assert contents.partial["local"] == (half,)
    assert local.read_bytes == reads


def test_a_tier_that_is_down_hides_only_its_own_copies() -> None:
    local, remote = MemoryTier("local"), MemoryTier("remote")
    take_dump(local)

    def fail(action: str, key: str) -> None:
        raise TierUnavailableError("not mounted")

    remote.on_step = fail
    contents = list_backups([local, remote])
    assert len(contents.rows) == 1
    assert "not mounted" in str(contents.down["remote"])


def test_holds_and_proofs_stand_in_names() -> None:
    tier = MemoryTier("local")
    manifest = take_dump(tier)
    hold(tier, manifest.ref, "audit of 2026", at=NOW)
    write_proof(
        tier,
        Proof(
            ref=manifest.ref,
            tier="local",
            at=NOW,
            seconds=3,
            seconds_to_restore=2,
            comparison=Comparison(5, (), 0),
            image="x",
        ),
    )
    (row,) = list_backups([tier]).rows
    assert row.proven
    assert row.held == "audit of 2026"
    assert hold_reason(tier, manifest.ref) == "audit of 2026"
    release(tier, manifest.ref, at=NOW + timedelta(seconds=1))
    (row,) = list_backups([tier]).rows
    assert row.held is None


def test_the_work_grows_with_the_backups_and_not_faster() -> None:
    """How long 100,000 of them take is what ``bench/trees.py`` measures."""

    def merged(count: int) -> int:
        files = [
            StoredFile(f"production/s{number % 25}/full/{day:08d}T000000Z-{number:08x}/{name}", 100)
            for number in range(count)
            for day in (20260000 + number % 27 + 101,)
            for name in ("app.dump.zst", "facts.json.zst", "manifest.json")
        ]
        with lines_run() as run:
            rows = merge({"local": group(by_folder(files))})
        assert len(rows) == count
        return run.count

    assert merged(4000) < 4.2 * merged(1000)


def test_a_folder_of_many_backups_is_listed_from_a_real_tier(tmp_path: Path) -> None:
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier

    tier = DirectoryTier("local", tmp_path / "tier")
    for hour in range(20):
        take_dump(tier, ref_at(NOW + timedelta(hours=hour)))
    assert len(list_backups([tier]).rows) == 20
