"""Verification: what is wrong is found, put aside, and replaced by a copy known to be good."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.backup_index import list_backups
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.packs import header
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.artifacts.records import write_verified
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest
from mmstack_ops.domain.backups.tree import IndexEntry
from mmstack_ops.domain.errors import ArtifactError, TierUnavailableError
from mmstack_ops.operations.backups.copy import copy_artifact
from mmstack_ops.operations.backups.verify import StructureCheck, verify_copy
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import take_dump, take_tree

PACE = Throttle(threading.Event())


def verify(
    tier: MemoryTier,
    manifest: Manifest,
    others: Sequence[MemoryTier] = (),
    *,
    keys: Keys | None = None,
    structure: StructureCheck | None = None,
) -> VerifyResult:
    return verify_copy(
        tier,
        manifest.ref,
        keys=keys or Keys(None),
        throttle=PACE,
        others=others,
        structure=structure,
    )


def two_copies() -> tuple[MemoryTier, MemoryTier, Manifest]:
    local, remote = MemoryTier("local"), MemoryTier("remote")
    contents = {"a": os.urandom(100_000), "b": b"b" * 100, "c": os.urandom(2_000_000)}
    files = [TreeFile(p, "object", size=len(c), version="1") for p, c in contents.items()]
    manifest = take_tree(local, files, contents, pack_bytes=50_000)
    copy_artifact(
        local, remote, manifest.ref, throttle=PACE, progress=lambda _: None, tell=lambda _: None
    )
    return local, remote, manifest


def flip(tier: MemoryTier, key: str) -> None:
    content = tier.files[key]
    # In the middle of a manifest a flipped bit may leave a document that is valid.
    middle = 0 if key.endswith("manifest.json") else len(content) // 2
    tier.files[key] = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def test_a_good_copy_is_good_and_every_byte_was_read() -> None:
    local, _, manifest = two_copies()
    before = dict(local.files)
    result = verify(local, manifest)
    assert result.ok
    assert result.whole
    assert result.problems == ()
    assert result.checked_bytes == manifest.stored_bytes
    assert local.files == before


@pytest.mark.parametrize("field", ["name", "mode"])
def test_a_tar_header_that_isnt_what_the_index_says_is_found(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """All hashes are right, and a restore by hand would still bring another file back."""

    def other(file: TreeFile, name: str) -> bytes:
        if name == "b":
            name, file = ("x", file) if field == "name" else (name, replace(file, mode=0o777))
        return header(file, name)

    monkeypatch.setattr("mmstack_ops.artifacts.packs.header", other)
    local, _, manifest = two_copies()
    result = verify(local, manifest)
    assert not result.ok
    (problem,) = result.problems
    assert "the tar header of 'b'" in problem


def test_a_file_that_isnt_where_the_index_says_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    written = IndexEntry.to_line

    def elsewhere(entry: IndexEntry) -> bytes:
        return written(replace(entry, offset=entry.offset + 512) if entry.pack else entry)

    monkeypatch.setattr(IndexEntry, "to_line", elsewhere)
    local, _, manifest = two_copies()
    result = verify(local, manifest)
    assert any("isn't where the index says" in problem for problem in result.problems)


def test_what_was_written_wrong_is_wrong_on_every_tier_and_never_called_healed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bytes are those that were written: another copy has the same."""
    monkeypatch.setattr(
        "mmstack_ops.artifacts.packs.header",
        lambda file, name: header(file, "x" if name == "b" else name),
    )
    local, remote, manifest = two_copies()
    before = dict(local.files)
    result = verify(local, manifest, [remote])
    assert not result.ok
    assert result.healed_from is None
    assert result.quarantined == ()
    assert local.files == before
    # Beside damage, which is healed, it still isn't good.
    flip(local, manifest.key_of(manifest.with_role("facts")[0]))
    both = verify(local, manifest, [remote])
    assert len(both.problems) == 2
    assert len(both.quarantined) == 1
    assert not both.ok


def test_any_damaged_file_is_found_healed_and_kept_aside() -> None:
    _, _, sample = two_copies()
    roles = ["manifest", *(payload.role for payload in sample.payloads)]
    for number in range(len(roles)):
        local, remote, manifest = two_copies()
        good = dict(local.files)
        keys = [manifest.ref.manifest_key, *(manifest.key_of(p) for p in manifest.payloads)]
        flip(local, keys[number])
        bad = local.files[keys[number]]
        alone = verify(local, manifest)
        assert not alone.ok, roles[number]
        assert keys[number] in alone.problems[0] or roles[number] == "manifest"
        healed = verify(local, manifest, [remote])
        assert healed.ok
        assert healed.problems
        assert healed.healed_from == "remote"
        assert [local.files[key] for key in healed.quarantined] == [bad]
        assert {key: local.files[key] for key in good} == good
        assert verify(local, manifest).problems == ()


def test_a_missing_file_is_healed() -> None:
    local, remote, manifest = two_copies()
    key = manifest.key_of(manifest.payloads[0])
    del local.files[key]
    assert verify(local, manifest, [remote]).healed_from == "remote"
    assert local.files[key] == remote.files[key]


def test_a_bad_copy_is_never_healed_from_another_bad_one() -> None:
    local, remote, manifest = two_copies()
    key = manifest.key_of(manifest.payloads[0])
    flip(local, key)
    flip(remote, key)
    before = dict(local.files)
    result = verify(local, manifest, [remote])
    assert not result.ok
    assert local.files == before


def test_a_tier_that_is_down_does_not_hinder_healing_from_the_next() -> None:
    local, remote, manifest = two_copies()
    down = MemoryTier("down")

    def fail(action: str, key: str) -> None:
        raise TierUnavailableError("down")

    down.on_step = fail
    flip(local, manifest.key_of(manifest.payloads[0]))
    assert verify(local, manifest, [down, remote]).healed_from == "remote"


def test_a_sample_says_that_it_is_one() -> None:
    local, _, manifest = two_copies()
    result = verify_copy(
        local, manifest.ref, keys=Keys(None), throttle=PACE, wanted_packs=lambda pack: False
    )
    assert result.ok
    assert not result.whole
    assert result.checked_bytes < manifest.stored_bytes


def test_without_the_key_the_stored_bytes_are_hashed(recipient: str) -> None:
    tier = MemoryTier("local")
    manifest = take_dump(tier, packing=Packing(recipients=(recipient,)))
    result = verify(tier, manifest)
    assert result.ok
    assert not result.whole
    flip(tier, manifest.key_of(manifest.payloads[0]))
    assert not verify(tier, manifest).ok


def test_structure_is_asked_when_the_bytes_are_right() -> None:
    tier = MemoryTier("local")
    manifest = take_dump(tier)
    asked: list[str] = []

    def structure(artifact: Artifact) -> list[str]:
        asked.append(str(artifact.manifest.ref))
        return ["the dump ends too early"]

    result = verify(tier, manifest, structure=structure)
    assert result.unsound == ("the dump ends too early",)
    assert result.problems == ()
    assert not result.ok
    # Nothing is damaged: restores pass it over with a reason, and no clean-up deletes it for that.
    write_verified(tier, result)
    (row,) = list_backups([tier]).rows
    assert row.copies["local"].usable
    assert row.disproven_at == result.at
    flip(tier, manifest.key_of(manifest.payloads[0]))
    verify(tier, manifest, structure=structure)
    assert len(asked) == 1


def test_a_backup_that_is_not_there_is_an_error_and_no_finding() -> None:
    manifest = take_dump(MemoryTier())
    with pytest.raises(ArtifactError, match="is missing"):
        verify(MemoryTier("local"), manifest)


def test_the_catalogue_shows_what_verification_found() -> None:
    local, remote, manifest = two_copies()
    first = verify(local, manifest)
    write_verified(local, first)
    (row,) = list_backups([local, remote]).rows
    assert row.copies["local"].verified_at == first.at
    assert row.copies["remote"].verified_at is None
    flip(local, manifest.key_of(manifest.payloads[0]))
    later = first.at + timedelta(hours=1)
    second = verify_copy(local, manifest.ref, keys=Keys(None), throttle=PACE, now=lambda: later)
    write_verified(local, second)
    (row,) = list_backups([local, remote]).rows
    assert not row.copies["local"].usable
    assert row.copies["local"].corrupt_at == later
    assert row.copies["remote"].usable
