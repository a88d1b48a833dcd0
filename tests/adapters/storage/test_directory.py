"""What only a folder can meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.domain.errors import ImmutableError, TierError
from tests.adapters.storage.contract import keys, put


def test_a_file_that_somebody_removes_while_it_is_written(tmp_path: Path) -> None:
    tier = DirectoryTier("t", tmp_path)
    with pytest.raises(TierError, match="removed"), tier.create("a/b") as file:  # noqa: PT012
        file.write(b"x")
        for path in (tmp_path / ".incoming").iterdir():
            path.unlink()
    assert keys(tier) == []


def test_a_key_below_a_file(tmp_path: Path) -> None:
    tier = DirectoryTier("t", tmp_path)
    put(tier, "a", b"x")
    with pytest.raises(TierError, match="folder"):
        put(tier, "a/b/c", b"x")
    assert keys(tier) == ["a"]


def test_a_key_where_a_folder_is(tmp_path: Path) -> None:
    tier = DirectoryTier("t", tmp_path)
    put(tier, "a/b", b"x")
    with pytest.raises(ImmutableError):
        put(tier, "a", b"x")
    assert keys(tier) == ["a/b"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    tier = DirectoryTier("t", tmp_path / "tier")
    put(tier, "a", b"x")
    (tmp_path / "tier/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tier/folder").symlink_to(tmp_path)
    assert keys(tier) == ["a"]
    assert tier.size("link") is None


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    tier = DirectoryTier("t", tmp_path / "tier")
    put(tier, "a/b", b"x")
    modes = [(tmp_path / "tier" / name).stat().st_mode & 0o777 for name in ("", "a", "a/b")]
    assert modes == [0o700, 0o700, 0o600]
