"""Copies: the same bytes, verified from what landed, taken up again where they stopped."""

from __future__ import annotations

import os
import threading

import pytest

from mmstack_ops.artifacts.records import hold
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.errors import ArtifactError, TierUnavailableError
from mmstack_ops.operations.backups.copy import Copied, copy_artifact, copy_records
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import read_back, take_dump, take_tree


def copy(source: MemoryTier, target: MemoryTier, ref: BackupRef) -> Copied:
    return copy_artifact(
        source,
        target,
        ref,
        throttle=Throttle(threading.Event()),
        progress=lambda count: None,
        tell=lambda message: None,
    )


def take_twice(tier: MemoryTier) -> tuple[Manifest, Manifest]:
    contents = {"a": os.urandom(3_000_000), "b": b"b" * 100}
    files = [TreeFile(p, "object", size=len(c), version="1") for p, c in contents.items()]
    first = take_tree(tier, files, contents)
    contents["c"] = b"new"
    files.append(TreeFile("c", "object", size=3, version="1"))
    return first, take_tree(tier, files, contents)


def test_copies_are_identical_and_packs_are_copied_once() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    first, second = take_twice(source)
    done = copy(source, target, first.ref)
    assert done.outcome == "copied"
    again = copy(source, target, second.ref)
    assert target.files == source.files
    assert again.written_bytes < 20_000
    assert read_back(target, second) == read_back(source, second)
    assert copy(source, target, second.ref).outcome == "present"


def test_a_copy_that_stopped_anywhere_goes_on_and_is_never_half_a_backup() -> None:
    source = MemoryTier("local")
    _, second = take_twice(source)
    counting = MemoryTier("remote")
    copy(source, counting, second.ref)
    for fatal in range(1, counting.steps + 1):
        target = MemoryTier("remote")

        def fail(action: str, key: str, tier: MemoryTier = target, fatal: int = fatal) -> None:
            if tier.steps == fatal:
                raise TierUnavailableError("gone")

        target.on_step = fail
        with pytest.raises(TierUnavailableError):
            copy(source, target, second.ref)
        if second.ref.manifest_key in target.files:
            assert read_back(target, second) == read_back(source, second)
        target.on_step = lambda action, key: None
        copy(source, target, second.ref)
        assert {key: source.files[key] for key in target.files} == target.files
        assert read_back(target, second) == read_back(source, second)


def test_a_damaged_source_is_not_copied() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    manifest = take_dump(source)
    key = manifest.key_of(manifest.payloads[0])
    source.files[key] = source.files[key][:-1] + b"?"
    with pytest.raises(ArtifactError, match=r"app\.dump\.zst on tier local is damaged"):
        copy(source, target, manifest.ref)
    assert target.files == {}


def test_bytes_that_land_wrong_are_taken_away() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    manifest = take_dump(source)

    def rot(action: str, key: str) -> None:
        if action == "published" and key.endswith("app.dump.zst"):
            target.files[key] = target.files[key][:-1] + b"?"

    target.on_step = rot
    with pytest.raises(ArtifactError, match="right after it was written"):
        copy(source, target, manifest.ref)
    assert target.files == {}


def test_a_wrong_file_in_the_way_is_put_aside() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    manifest = take_dump(source)
    key = manifest.key_of(manifest.payloads[0])
    for wrong in (b"short", b"x" * manifest.payloads[0].stored_bytes):
        target.files = {key: wrong}
        copy(source, target, manifest.ref)
        assert target.files[key] == source.files[key]
        aside = [name for name in target.files if name.startswith(f"quarantine/{key}-")]
        assert [target.files[name] for name in aside] == [wrong]


def test_two_different_backups_of_one_name_are_never_mixed() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    manifest = take_dump(source)
    copy(source, target, manifest.ref)
    key = manifest.ref.manifest_key
    target.files[key] = target.files[key].replace(b"15.4", b"15.5")
    with pytest.raises(ArtifactError, match="different backups"):
        copy(source, target, manifest.ref)


def test_records_are_copied_once() -> None:
    source, target = MemoryTier("local"), MemoryTier("remote")
    manifest = take_dump(source)
    hold(source, manifest.ref, "audit")
    assert copy_records(source, target, manifest.ref) == 1
    assert copy_records(source, target, manifest.ref) == 0
