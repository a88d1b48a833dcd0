"""Incremental trees: only what changed is stored, and every backup comes back exactly."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.artifacts.encryption import Keys
from mmstack_ops.artifacts.payload_writer import Packing
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Manifest, Omission
from mmstack_ops.domain.errors import ArtifactError, BackupError, FileVanishedError
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, read_back, ref_at, take_tree
from tests.profiles import examples

_KEYS = st.text(
    st.sampled_from(["a", "b", "/", ".", " ", "ü", "\n", "\udcff", "-", "*"]),
    min_size=1,
    max_size=6,
)


def objects(contents: dict[str, bytes], versions: dict[str, int]) -> list[TreeFile]:
    return [
        TreeFile(
            path,
            "object",
            size=len(content),
            version=str(versions[path]),
            attributes={"content-type": "text/plain"},
        )
        for path, content in contents.items()
    ]


@settings(max_examples=examples(40))
@given(
    rounds=st.lists(
        st.dictionaries(_KEYS, st.one_of(st.none(), st.binary(max_size=3000)), max_size=6),
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
def test_every_backup_of_a_history_comes_back(
    rounds: list[dict[str, bytes | None]], data: st.DataObject
) -> None:
    """Any keys, also ``..``, ``a`` beside ``a/b``, ``a//b`` and ``a/``; clocks that jump."""
    tier = MemoryTier()
    contents: dict[str, bytes] = {}
    versions: dict[str, int] = {}
    history: list[tuple[Manifest, dict[str, bytes]]] = []
    for number, edits in enumerate(rounds):
        for path, content in edits.items():
            if content is None:
                contents.pop(path, None)
            else:
                contents[path] = content
                versions[path] = number
        hours = data.draw(st.integers(-100, 100))
        moment = NOW + timedelta(hours=hours)
        manifest = take_tree(
            tier,
            objects(contents, versions),
            contents,
            ref=ref_at(moment, service="minio", type_name="bucket"),
            pack_bytes=4000,
            now=moment,
        )
        history.append((manifest, dict(contents)))
    for manifest, expected in history:
        assert read_back(tier, manifest) == expected
        files = {file.path: file for file in Artifact(tier, manifest, Keys(None)).files()}
        assert files.keys() == expected.keys()
        assert all(file.attributes == {"content-type": "text/plain"} for file in files.values())


def test_unchanged_files_are_not_read_again() -> None:
    tier = MemoryTier()
    contents = {f"f{number}": bytes([number]) * 5000 for number in range(100)}
    versions = dict.fromkeys(contents, 1)
    first = take_tree(tier, objects(contents, versions), contents, pack_bytes=100_000)
    contents["f7"] = b"new"
    versions["f7"] = 2
    opened: list[str] = []

    def open_file(file: TreeFile) -> BinaryIO:
        opened.append(file.path)
        return io.BytesIO(contents[file.path])

    later = NOW + timedelta(days=1)
    ref = ref_at(later, service="minio", type_name="bucket")
    second = take_tree(tier, objects(contents, versions), open_file, ref=ref, now=later)
    assert opened == ["f7"]
    assert second.parent == first.id
    assert second.figures["tree_files_unchanged"] == 99
    names = [pack.name for pack in second.with_role("pack")]
    assert names[:-1] == [pack.name for pack in first.with_role("pack")]
    assert names[-1].startswith(second.id)


def test_packs_of_which_little_is_left_are_given_up() -> None:
    tier = MemoryTier()
    contents = {f"f{number}": bytes([number]) * 5000 for number in range(20)}
    versions = dict.fromkeys(contents, 1)
    first = take_tree(tier, objects(contents, versions), contents)
    old_pack = first.with_role("pack")[0].name
    for day in (1, 2):
        # Twelve of twenty go: the next backup knows, the one after it has moved the rest.
        for number in range(12):
            contents.pop(f"f{number}", None)
        moment = NOW + timedelta(days=day)
        ref = ref_at(moment, service="minio", type_name="bucket")
        last = take_tree(tier, objects(contents, versions), contents, ref=ref, now=moment)
    assert old_pack not in [pack.name for pack in last.with_role("pack")]
    assert read_back(tier, last) == contents


def test_a_lost_pack_is_stored_again() -> None:
    tier = MemoryTier()
    contents = {"a": b"a" * 1000, "b": b"b" * 1000}
    versions = dict.fromkeys(contents, 1)
    first = take_tree(tier, objects(contents, versions), contents)
    del tier.files[first.key_of(first.with_role("pack")[0])]
    told: list[str] = []
    second = take_tree(tier, objects(contents, versions), contents, told=told)
    assert any("missing" in message for message in told)
    assert read_back(tier, second) == contents


def test_a_damaged_previous_backup_is_not_built_upon() -> None:
    contents = {"a": b"a" * 1000}
    versions = {"a": 1}
    for victim in ("manifest.json", "index.jsonl.zst"):
        tier = MemoryTier()
        first = take_tree(tier, objects(contents, versions), contents)
        key = first.ref.key(victim)
        tier.files[key] = tier.files[key][:-20] + b"x" * 20
        told: list[str] = []
        second = take_tree(tier, objects(contents, versions), contents, told=told)
        assert told
        assert second.figures["tree_files_stored"] == 1
        assert read_back(tier, second) == contents


def test_a_new_recipient_means_new_packs(identity: Path, recipient: str) -> None:
    tier = MemoryTier()
    contents = {"a": b"a" * 1000}
    take_tree(tier, objects(contents, {"a": 1}), contents)
    packing = Packing(threads=0, recipients=(recipient,))
    second = take_tree(tier, objects(contents, {"a": 1}), contents, packing=packing)
    assert all(payload.encryption == "age" for payload in second.payloads)
    assert read_back(tier, second, Keys(identity)) == contents


class Shrinking(io.BytesIO):
    """Half of what was promised."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content[: len(content) // 2])


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_file_that_changes_while_it_is_read_is_tried_again(size: int) -> None:
    tier = MemoryTier()
    contents = {"a": b"a" * 700, "changing": random.Random(1).randbytes(size), "z": b"z" * 700}
    tries: list[str] = []

    def open_file(file: TreeFile) -> BinaryIO:
        tries.append(file.path)
        if file.path == "changing" and tries.count("changing") == 1:
            return Shrinking(contents["changing"])
        return io.BytesIO(contents[file.path])

    manifest = take_tree(
        tier, objects(contents, dict.fromkeys(contents, 1)), open_file, pack_bytes=10_000_000
    )
    assert tries.count("changing") == 2
    assert read_back(tier, manifest) == contents


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_file_that_never_holds_still_is_left_out_and_told(size: int) -> None:
    tier = MemoryTier()
    contents = {"a": b"a" * 700, "changing": b"c" * size, "gone": b"g", "z": b"z" * 700}

    def open_file(file: TreeFile) -> BinaryIO:
        if file.path == "changing":
            return Shrinking(contents["changing"])
        if file.path == "gone":
            raise FileVanishedError("'gone' went away")
        return io.BytesIO(contents[file.path])

    told: list[str] = []
    manifest = take_tree(tier, objects(contents, dict.fromkeys(contents, 1)), open_file, told=told)
    assert read_back(tier, manifest) == {"a": contents["a"], "z": contents["z"]}
    assert manifest.figures["tree_files_left_out"] == 2
    assert [message for message in told if "changing" in message]
    assert [message for message in told if "gone" in message]


def test_a_file_that_can_not_be_read_is_named_and_does_not_stop_the_rest() -> None:
    tier = MemoryTier()

    def open_file(file: TreeFile) -> BinaryIO:
        if file.path == "b\udcff":
            raise PermissionError(13, "Permission denied")
        return io.BytesIO(b"x")

    told: list[str] = []
    files = [TreeFile(path, "file", size=1) for path in ("a", "b\udcff", "c")]
    manifest = take_tree(tier, files, open_file, told=told)
    assert manifest.not_covered == (Omission(name="b\\xff", reason="Permission denied"),)
    assert not manifest.covers_all
    assert told == ["not covered: 'b\\udcff' can't be read (Permission denied)"]
    artifact = Artifact(tier, manifest, Keys(None))
    assert artifact.facts().not_covered == {"b\udcff": "Permission denied"}
    assert [file.path for file in artifact.files()] == ["a", "c"]


def test_a_tree_of_which_nothing_can_be_read_is_no_backup() -> None:
    tier = MemoryTier()

    def open_file(file: TreeFile) -> BinaryIO:
        raise OSError(5, "Input/output error")

    with pytest.raises(BackupError, match="none of 2 files can be read, among them 'a'"):
        take_tree(tier, [TreeFile(path, "file", size=1) for path in "ab"], open_file)
    assert tier.files == {}


class Restless(io.FileIO):
    """A file that something else writes to each time it is read."""

    def __init__(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        super().__init__(path)
        self._path = path
        self._write = write

    def read(self, size: int | None = -1, /) -> bytes:
        with self._path.open("r+b") as more:
            self._write(cast("BinaryIO", more))
        return super().read(size) or b""


def _append(target: BinaryIO) -> None:
    target.seek(0, io.SEEK_END)
    target.write(b"more")


def _overwrite(target: BinaryIO) -> None:
    target.seek(500)
    target.write(random.randbytes(4))
    os.utime(target.fileno())


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize(("write", "taken"), [(_append, True), (_overwrite, False)])
def test_a_log_is_taken_up_to_its_first_size_and_what_changes_inside_is_named(
    tmp_path: Path, size: int, write: Callable[[BinaryIO], object], taken: bool
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * size)
    tier = MemoryTier()
    files = [
        TreeFile("log", "file", size=size, mtime_ns=path.stat().st_mtime_ns),
        TreeFile("still", "file", size=1),
    ]
    manifest = take_tree(
        tier,
        files,
        lambda file: (
            cast("BinaryIO", Restless(path, write)) if file.path == "log" else io.BytesIO(b"x")
        ),
    )
    assert [one.name for one in manifest.not_covered] == ([] if taken else ["log"])
    assert read_back(tier, manifest).get("log") == (b"x" * size if taken else None)


def test_a_hard_link_takes_the_content_over_when_the_first_name_is_gone() -> None:
    tier = MemoryTier()

    def open_file(file: TreeFile) -> BinaryIO:
        if file.path == "a":
            raise FileNotFoundError
        return io.BytesIO(b"content")

    files = [
        TreeFile("a", "file", size=7),
        TreeFile("b", "hardlink", size=7, target="a"),
        TreeFile("c", "hardlink", size=7, target="a"),
    ]
    manifest = take_tree(tier, files, open_file)
    kinds = {file.path: (file.kind, file.target) for file in artifact_files(tier, manifest)}
    assert kinds == {"b": ("file", ""), "c": ("hardlink", "b")}
    assert read_back(tier, manifest) == {"b": b"content"}
    assert not manifest.not_covered


def artifact_files(tier: MemoryTier, manifest: Manifest) -> list[TreeFile]:
    return list(Artifact(tier, manifest, Keys(None)).files())


def test_names_of_a_file_that_cannot_be_read_are_named_as_well() -> None:
    def open_file(file: TreeFile) -> BinaryIO:
        if file.path == "a":
            raise PermissionError(13, "Permission denied")
        return io.BytesIO(b"x")

    files = [
        TreeFile("a", "file", size=7),
        TreeFile("b", "hardlink", size=7, target="a"),
        TreeFile("other", "file", size=1),
    ]
    manifest = take_tree(MemoryTier(), files, open_file)
    assert [one.name for one in manifest.not_covered] == ["a", "b"]


def test_only_packs_with_something_wanted_are_read() -> None:
    tier = MemoryTier()
    contents = {f"f{number}": random.Random(number).randbytes(50_000) for number in range(20)}
    manifest = take_tree(
        tier, objects(contents, dict.fromkeys(contents, 1)), contents, pack_bytes=200_000
    )
    assert len(manifest.with_role("pack")) >= 5
    before = tier.read_bytes
    found = list(Artifact(tier, manifest, Keys(None)).contents(lambda file: file.path == "f3"))
    assert [file.path for file, _ in found] == ["f3"]
    assert tier.read_bytes - before < 450_000


def test_a_file_swapped_inside_a_pack_is_found() -> None:
    """The pack's own hash may be right for another backup: each file has its own."""
    tier = MemoryTier()
    contents = {"a": b"a" * 1000}
    manifest = take_tree(tier, objects(contents, {"a": 1}), contents)
    other = MemoryTier()
    wrong = take_tree(other, objects({"a": b"b" * 1000}, {"a": 1}), {"a": b"b" * 1000})
    pack, other_pack = manifest.with_role("pack")[0], wrong.with_role("pack")[0]
    tier.files[manifest.key_of(pack)] = other.files[wrong.key_of(other_pack)]
    with pytest.raises(ArtifactError):
        read_back(tier, manifest)


def test_ten_thousand_small_files() -> None:
    tier = MemoryTier()
    contents = {f"d{number % 100}/f{number}": b"%d" % number for number in range(10_000)}
    files = objects(contents, dict.fromkeys(contents, 1))
    first = take_tree(tier, files, contents, pack_bytes=64 << 20)
    assert len(first.with_role("pack")) == 1
    assert read_back(tier, first) == contents
    second = take_tree(tier, files, {}, pack_bytes=64 << 20)  # Nothing may be opened.
    assert second.figures["tree_files_unchanged"] == 10_000
