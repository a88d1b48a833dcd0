"""Taking a backup: all of it or nothing, whatever goes wrong and wherever."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from datetime import timedelta
from typing import BinaryIO

import pytest

from mmstack_ops.artifacts import artifact_reader as opening
from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.artifact_writer import newest_manifest, taking
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import (
    ArtifactError,
    BackupError,
    CancelledError,
    ImmutableError,
    TierFullError,
    TierUnavailableError,
)
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, plain_of, ref_at, take_dump, take_tree

FILES = [TreeFile("a", "object", size=9000, version="1"), TreeFile("d", "dir")]
CONTENTS = {"a": b"a" * 9000}


def test_a_backup_says_what_it_holds() -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    assert read_manifest(tier, manifest.ref) == manifest
    assert [payload.name for payload in manifest.payloads] == ["app.dump.zst", "facts.json.zst"]
    assert manifest.payloads[0].attributes == {"database": "app"}
    assert manifest.figures["tables"] == 2
    assert Artifact(tier, manifest, Keys(None)).facts().items == {"app.rows": "1000 aa"}
    assert next(plain_of(tier, manifest)) == b"rows\n" * 1000
    assert list(tier.files)[-1] == manifest.ref.manifest_key


@pytest.mark.parametrize("tree", [False, True])
def test_a_tier_that_fails_at_any_operation_keeps_nothing(tree: bool) -> None:
    def take(tier: MemoryTier) -> None:
        if tree:
            take_tree(tier, FILES, CONTENTS)
        else:
            take_dump(tier)

    counting = MemoryTier()
    take(counting)
    for fatal in range(1, counting.steps + 1):
        tier = MemoryTier()

        def fail(action: str, key: str, tier: MemoryTier = tier, fatal: int = fatal) -> None:
            if tier.steps == fatal:
                raise TierUnavailableError("the tier went away")

        tier.on_step = fail
        with pytest.raises(TierUnavailableError):
            take(tier)
        assert tier.files == {}, fatal


@pytest.mark.parametrize("capacity", [50, 500, 1200, 2500])
def test_a_full_tier_keeps_nothing(capacity: int) -> None:
    tier = MemoryTier(capacity=capacity)
    with pytest.raises(TierFullError):
        take_tree(tier, FILES, CONTENTS)
    assert tier.files == {}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_type_that_fails_leaves_nothing(error: type[BaseException]) -> None:
    tier = MemoryTier()

    def fail(target: BinaryIO) -> None:
        raise error("in the middle of a dump")

    with pytest.raises(error):
        take_dump(tier, during=fail)
    assert tier.files == {}


def test_a_cancelled_backup_leaves_nothing() -> None:
    tier = MemoryTier()
    cancel = threading.Event()
    with pytest.raises(CancelledError):
        take_dump(tier, cancel=cancel, during=lambda target: cancel.set())
    assert tier.files == {}


def test_a_type_that_says_nothing_is_refused() -> None:
    tier = MemoryTier()
    with (
        pytest.raises(BackupError, match="holds nothing"),
        taking(
            tier,
            ref_at(),
            project="lab",
            image="x",
            packing=Packing(),
            keys=Keys(None),
            cancel=threading.Event(),
            tell=print,
        ) as capture,
    ):
        capture.note(method="", versions={}, restore_by_hand=[], facts=Facts())
    assert tier.files == {}


def test_a_backup_that_stands_is_never_touched() -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    before = dict(tier.files)
    with pytest.raises(ImmutableError, match="already"):
        take_dump(tier, manifest.ref)
    assert tier.files == before


def test_leftovers_on_a_tier_that_went_away_do_not_hide_the_error() -> None:
    tier = MemoryTier()

    def down(action: str, key: str) -> None:
        if action in ("delete", "write") and key.endswith(("manifest.json", "facts.json.zst")):
            raise TierUnavailableError(f"gone while it should {action}")

    tier.on_step = down
    with pytest.raises(TierUnavailableError, match="should write"):
        take_dump(tier)
    assert [key for key in tier.files if key.endswith("manifest.json")] == []


def test_a_damaged_manifest_is_refused() -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    key = manifest.ref.manifest_key
    good = tier.files[key]
    for damaged in (b"", good[:-10], good.replace(b'"format": 2', b'"format": 3'), good[::-1]):
        tier.files[key] = damaged
        with pytest.raises(ArtifactError):
            read_manifest(tier, manifest.ref)
    other = ref_at()
    tier.files[other.manifest_key] = good
    with pytest.raises(ArtifactError, match="belongs to"):
        read_manifest(tier, other)


def test_the_previous_backup_after_a_clock_that_jumped() -> None:
    """One backup was taken while the clock stood ten days ahead."""
    tier = MemoryTier()
    told: list[str] = []
    old = take_dump(tier, ref_at(NOW))
    future = take_dump(tier, ref_at(NOW + timedelta(days=10)))
    series = old.ref.series

    def newest(hours: float) -> str | None:
        moment = NOW + timedelta(hours=hours)
        found = newest_manifest(tier, series, now=moment, tell=told.append)
        return found.id if found else None

    assert newest(1) == old.id
    now = take_dump(tier, ref_at(NOW + timedelta(hours=2)))
    assert newest(3) == now.id
    assert newest(24 * 11) == future.id
    tier.files[now.ref.manifest_key] = b"{"
    assert newest(3) == old.id
    assert now.id in told[0]
    assert newest_manifest(tier, "testing/redis/rdb", now=NOW, tell=told.append) is None


def test_two_backups_of_one_second_have_different_names() -> None:
    tier = MemoryTier()
    assert take_dump(tier, ref_at(NOW)).id != take_dump(tier, ref_at(NOW)).id


def test_a_file_that_is_too_large_for_a_manifest_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tier = MemoryTier()
    manifest = take_dump(tier)
    asked: list[int] = []

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(1)
            assert len(asked) < 10
            return bytes(opening.BLOCK)

    monkeypatch.setattr(opening, "_MANIFEST_LIMIT", 3 * opening.BLOCK)
    monkeypatch.setattr(tier, "read", lambda key: nullcontext(Endless()))
    with pytest.raises(ArtifactError, match="manifest"):
        opening.read_manifest(tier, manifest.ref)
