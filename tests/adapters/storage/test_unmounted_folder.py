"""A folder that is unmounted or replaced while it is listed: never a list that is too short."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.domain.errors import TierUnavailableError


def test_a_tier_replaced_while_it_is_listed_is_told(tmp_path: Path) -> None:
    tier = DirectoryTier("local", tmp_path / "tier")
    for number in range(5):
        with tier.create(f"a/{number}/file") as file:
            file.write(b"x")
    listing = tier.list()
    next(listing)
    # What an unmounted disk leaves in its place: an empty folder.
    (tmp_path / "tier").rename(tmp_path / "gone")
    (tmp_path / "tier").mkdir()
    with pytest.raises(TierUnavailableError, match="local"):
        list(listing)
