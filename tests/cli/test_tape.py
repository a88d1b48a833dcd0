"""The verbs on tape volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.storage.contract import put
from tests.adapters.storage.test_tape import tape
from tests.cli.conftest import Mmstack
from tests.cli.faked_backups import Runs
from tests.operations.backups.test_tape_volumes import volumes_of
from tests.orchestration.backups.fake import FakeBackups


@pytest.fixture
def volume(backups: FakeBackups, tmp_path: Path) -> str:
    """One volume: a kept file and a forgotten one."""
    tier = tape(tmp_path / "set")
    put(tier, "kept", b"k" * 1000)
    put(tier, "gone", b"g" * 1000)
    tier.delete(["gone"])
    backups.tapes = volumes_of(tier)
    (only,) = backups.tapes.volumes()
    name: str = only.name
    return name


def test_volumes_are_shown_with_why_they_stay(mmstack: Mmstack, volume: str) -> None:
    shown = mmstack("tape", "volumes")
    assert shown.exit_code == 0
    assert volume in shown.stdout
    assert "1 files on it aren't forgotten" in " ".join(shown.stdout.split())
    (document,) = mmstack("tape", "volumes", "--json").document["volumes"]
    assert (document["name"], document["live"]) == (volume, 1)


def test_a_volume_that_is_kept_is_refused_before_anybody_is_asked(
    mmstack: Mmstack, runs: Runs, volume: str
) -> None:
    ended = mmstack("tape", "recycle", volume, "--yes")
    assert ended.exit_code == 1
    assert "can't be recycled" in ended.stderr
    assert runs.calls == []


def test_a_forgotten_one_is_recycled_as_it_was_seen(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups, tmp_path: Path
) -> None:
    tier = tape(tmp_path / "set")
    put(tier, "gone", b"g" * 1000)
    tier.delete(["gone"])
    backups.tapes = volumes_of(tier)
    (only,) = backups.tapes.volumes()
    assert mmstack("tape", "recycle", only.name).exit_code == 2
    runs.events = [only]
    done = mmstack("tape", "recycle", only.name, "--yes")
    assert done.exit_code == 0
    assert "are free again" in done.stdout
    (call,) = runs.calls
    assert call["job"] == "tape_recycle"
    config = call["run_config"]["ops"]["recycle_volume"]["config"]
    assert config == {"tier": "tape", "volume": only.name, "stored": only.stored}
    assert mmstack("tape", "recycle", "none", "--yes").exit_code == 2
