"""The index of a tree, names inside packs, and which packs are given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.pack_entry_names import MemberNames
from mmstack_ops.domain.backups.tree import (
    ODD_NAMES,
    IndexEntry,
    is_path,
    pack_order,
    parse_line,
    unchanged,
    worn_out_packs,
)
from mmstack_ops.domain.errors import ArtifactError

# Also lone surrogates: file names that aren't UTF-8.
_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
_FILES = st.builds(
    TreeFile,
    path=_TEXT,
    kind=st.sampled_from(["file", "dir", "symlink", "hardlink", "object"]),
    size=st.integers(0, 2**62),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32),
    gid=st.integers(0, 2**32),
    mtime_ns=st.integers(-(2**62), 2**62),
    target=_TEXT,
    version=_TEXT,
    attributes=st.dictionaries(_TEXT, _TEXT, max_size=3),
)


@given(file=_FILES, digest=_TEXT, pack=_TEXT.filter(bool), offset=st.integers(0), member=_TEXT)
def test_index_lines_come_back(
    file: TreeFile, digest: str, pack: str, offset: int, member: str
) -> None:
    for entry in (IndexEntry(file), IndexEntry(file, digest, pack, offset, member)):
        line = entry.to_line()
        assert parse_line(line) == entry
        assert line.count(b"\n") == 1


@given(st.binary(max_size=40))
def test_damaged_lines_are_artifact_errors(line: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse_line(line)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 6},
        {"mtime_ns": 2},
        {"version": "2"},
        {"mode": 0o600},
        {"uid": 1},
        {"gid": 1},
        {"kind": "object"},
        {"attributes": {"a": "b"}},
    ],
)
def test_any_difference_counts(change: dict[str, Any]) -> None:
    file = TreeFile("a", "file", size=5, mtime_ns=1, version="1")
    assert unchanged(file, replace(file))
    assert not unchanged(file, replace(file, **change))


@given(st.lists(_TEXT, max_size=12, unique=True))
def test_names_in_packs_are_safe_and_never_in_each_others_way(paths: list[str]) -> None:
    names = MemberNames()
    chosen = [names.choose(TreeFile(path, "object")) or path for path in paths]
    assert len(set(chosen)) == len(chosen)
    for name in chosen:
        assert is_path(name) or name.startswith(f"{ODD_NAMES}/")
        assert not any(other.startswith(f"{name}/") for other in chosen)


def test_what_can_not_be_a_path() -> None:
    assert all(map(is_path, ["a", "a/b", "...", "-rf", "new\nline", "ü", "\udcff"]))
    assert not any(
        map(is_path, ["", "/a", "a//b", "a/", ".", "../a", "a/../b", "a/./b", "\0", "x" * 256])
    )


def test_a_pack_of_which_less_than_half_is_live_is_worn_out() -> None:
    size = 100_000
    entries = [IndexEntry(TreeFile(f"f{n}", "file", size=size), pack="p") for n in range(4)]
    packed = {"p": 10 * (size + 1536), "q": 5000, "empty": 0}
    assert worn_out_packs(entries, packed) == {"p", "q"}
    assert worn_out_packs(entries * 2, packed, gone=["z"]) == {"q", "z"}


def test_packs_keep_their_order_whatever_they_are_called() -> None:
    assert pack_order(["z", "a", "m"], {"z", "m", "0"}, ["0"]) == ["z", "m", "0"]
