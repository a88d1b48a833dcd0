"""What is still to be copied to a later tier."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.artifacts.records import mark_safety, write_verified
from mmstack_ops.domain.backups.backup_plan import PlannedCopy
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.errors import TierUnavailableError
from mmstack_ops.operations.backups.tier_contents import TierContents
from tests.adapters.config_project import make_project
from tests.operations.backups.fakes import MemoryTier
from tests.operations.backups.sample_backups import NOW, take_dump

LOCAL, REMOTE, CLOUD = "local", "remote", "cloud"


@pytest.fixture
def tiers() -> dict[str, MemoryTier]:
    return {name: MemoryTier(name) for name in (LOCAL, REMOTE, CLOUD)}


@pytest.fixture
def holdings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiers: dict[str, MemoryTier]
) -> TierContents:
    return opened(tmp_path, monkeypatch, tiers, "development")


@pytest.fixture
def chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiers: dict[str, MemoryTier]
) -> TierContents:
    """Three tiers, one after the other; one that is taken out of ``tiers`` isn't configured."""
    return opened(tmp_path, monkeypatch, tiers, "staging")


def opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiers: dict[str, MemoryTier],
    environment: str,
) -> TierContents:
    project = make_project(tmp_path, monkeypatch)
    catalogue = project.catalogue(environment)
    generate(project, catalogue)
    monkeypatch.setattr(
        "mmstack_ops.adapters.storage.open_tier.open_tier", lambda name, *_, **__: tiers.get(name)
    )
    return TierContents(project, catalogue, lambda: load_values(project, catalogue))


def taken(tier: MemoryTier, hours: int, environment: str = "development") -> BackupRef:
    moment = NOW + timedelta(hours=hours)
    ref = BackupRef(environment, "postgres", "full", new_id(moment, b"0000"))
    take_dump(tier, ref)
    return ref


def test_what_a_later_tier_lacks_is_named_the_newest_first(
    holdings: TierContents, tiers: dict[str, MemoryTier]
) -> None:
    first, second = taken(tiers[LOCAL], 1), taken(tiers[LOCAL], 2)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [second, first]
    take_dump(tiers[REMOTE], second)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [first]
    assert holdings.missing_copies(LOCAL) == ()


def test_a_safety_backup_is_missed_nowhere(
    holdings: TierContents, tiers: dict[str, MemoryTier]
) -> None:
    kept, safety = taken(tiers[LOCAL], 1), taken(tiers[LOCAL], 2)
    mark_safety(tiers[LOCAL], safety, at=NOW)
    assert [one.ref for one in holdings.missing_copies(REMOTE)] == [kept]
    by_name = {one.name: one for one in holdings.tiers.status(holdings.contents().rows)}
    assert by_name[LOCAL].backups == 2
    assert by_name[REMOTE].missing == 1


def is_down(monkeypatch: pytest.MonkeyPatch, tier: MemoryTier) -> None:
    def gone(*_: object, **__: object) -> None:
        raise TierUnavailableError(f"{tier.name} is down")

    monkeypatch.setattr(tier, "check", gone)


def test_a_tier_in_between_that_is_not_configured_keeps_nothing_from_the_next(
    chain: TierContents, tiers: dict[str, MemoryTier]
) -> None:
    ref = taken(tiers[LOCAL], 1, "staging")
    del tiers[REMOTE]
    assert chain.missing_copies(CLOUD) == (PlannedCopy(ref, LOCAL, CLOUD),)
    assert chain.source_for(ref, CLOUD) is tiers[LOCAL]
    by_name = {one.name: one for one in chain.tiers.status(chain.contents().rows)}
    assert by_name[CLOUD].missing == 1
    with pytest.raises(TierUnavailableError, match="remote isn't configured"):
        chain.missing_copies(REMOTE)


def test_copies_go_past_a_tier_that_is_down_and_are_made_up_for(
    chain: TierContents, tiers: dict[str, MemoryTier], monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = taken(tiers[LOCAL], 1, "staging")
    with monkeypatch.context() as patched:
        is_down(patched, tiers[REMOTE])
        assert chain.missing_copies(CLOUD) == (PlannedCopy(ref, LOCAL, CLOUD),)
        with pytest.raises(TierUnavailableError, match="remote is down"):
            chain.missing_copies(REMOTE)
        take_dump(tiers[CLOUD], ref)
    assert chain.missing_copies(REMOTE) == (PlannedCopy(ref, LOCAL, REMOTE),)
    assert chain.missing_copies(CLOUD) == ()


def test_nothing_is_said_to_be_there_when_every_tier_before_is_down(
    chain: TierContents, tiers: dict[str, MemoryTier], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (LOCAL, REMOTE):
        is_down(monkeypatch, tiers[name])
    with pytest.raises(TierUnavailableError, match="remote is down"):
        chain.missing_copies(CLOUD)


def test_each_backup_comes_from_the_tier_right_before_that_has_a_good_copy(
    chain: TierContents, tiers: dict[str, MemoryTier]
) -> None:
    near, both, damaged = (taken(tiers[LOCAL], hours, "staging") for hours in (1, 2, 3))
    for ref in (both, damaged):
        take_dump(tiers[REMOTE], ref)
    write_verified(tiers[REMOTE], VerifyResult(damaged, REMOTE, NOW, 1.0, 10, ("cut off",)))
    assert {one.ref: one.source for one in chain.missing_copies(CLOUD)} == {
        near: LOCAL,
        both: REMOTE,
        damaged: LOCAL,
    }
    assert chain.source_for(both, CLOUD) is tiers[REMOTE]
    assert chain.source_for(damaged, CLOUD) is tiers[LOCAL]
