"""Which tape volumes may be made blank, and that only those are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.domain.errors import (
    ImmutableError,
    InputError,
    PlanStaleError,
    UnknownNameError,
)
from mmstack_ops.operations.backups.tape_volumes import TapeVolumes
from mmstack_ops.operations.backups.tier_set import TierSet
from tests.adapters.storage.contract import get, put
from tests.adapters.storage.test_tape import tape


def volumes_of(*tiers: Any) -> TapeVolumes:
    by_name = {one.name: one for one in tiers}

    def configured(names: list[str] | None = None) -> list[Any]:
        return [by_name[name] for name in (by_name if names is None else names)]

    return TapeVolumes(cast(TierSet, SimpleNamespace(configured=configured)))


def test_a_volume_is_kept_as_long_as_retention_keeps_anything_on_it(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    put(tier, "a", b"a" * 5_000_000)
    put(tier, "b", b"b" * 5_000_000)
    tapes = volumes_of(tier)
    first = tapes.volumes()[0]
    assert first.live == 1
    assert "retention keeps them" in first.stays
    with pytest.raises(ImmutableError, match="can't be recycled"):
        tapes.recycle(first.name, "tape", stored=first.stored)
    tier.delete(["a"])
    again = tapes.find(first.name)
    assert again.stays == ""
    assert tapes.recycle(first.name, "tape", stored=again.stored) == again
    assert first.name not in [one.name for one in tapes.volumes()]
    assert get(tape(tmp_path, state="other"), "b") == b"b" * 5_000_000


def test_one_that_changed_since_it_was_looked_at_is_left_alone(tmp_path: Path) -> None:
    tier = tape(tmp_path)
    put(tier, "a", b"a" * 1000)
    tier.delete(["a"])
    tapes = volumes_of(tier)
    (seen,) = tapes.volumes()
    put(tier, "b", b"b" * 1000)
    with pytest.raises(PlanStaleError, match="isn't as it was looked at"):
        tapes.recycle(seen.name, "tape", stored=seen.stored)
    assert get(tier, "b") == b"b" * 1000


def test_names_are_found_or_refused(tmp_path: Path) -> None:
    tapes = volumes_of(tape(tmp_path / "a"), tape(tmp_path / "b", name="second"))
    for folder, name in (("a", "tape"), ("b", "second")):
        put(tape(tmp_path / folder, name=name), "x", b"x")
    one = tapes.volumes("tape")[0]
    with pytest.raises(UnknownNameError, match="there is no volume"):
        tapes.find("none")
    if one.name in [other.name for other in tapes.volumes("second")]:
        with pytest.raises(UnknownNameError, match="several volumes"):
            tapes.find(one.name)
    assert tapes.find(one.name, "tape") == one


def test_a_tier_without_volumes_is_refused() -> None:
    with pytest.raises(InputError, match="keeps no tape volumes"):
        volumes_of(SimpleNamespace(name="local")).volumes("local")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"at_hand": False}, "isn't at hand"),
        ({"live": 3}, "3 files"),
        ({"damage": ("block 7",)}, "may hold files that can't be seen"),
        ({"stored": 0}, "nothing is on it"),
    ],
)
def test_why_a_volume_stays(changes: dict[str, Any], why: str) -> None:
    values: dict[str, Any] = {"at_hand": True, "stored": 10, "live": 0, **changes}
    volume = TapeVolume("tape", "v1", 1, **values)
    assert (why in volume.stays) if why else volume.stays == ""
