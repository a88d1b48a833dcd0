"""State that the code of November 2026 wrote is read as it was then.

`tests/fixtures/state-2026-11` was written by commit 2bc7a69, before modules moved: processes that
were killed in a restore, in a wipe and in a drill, and one that kept a restored copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmstack_ops.adapters.locks.owner_lock import OwnerLocks
from mmstack_ops.adapters.undo_journal import Journal
from mmstack_ops.domain.backups.sensor_cursors import Copies, Version
from mmstack_ops.operations.backups.interrupted_restores import interrupted_restores
from mmstack_ops.operations.wipe.wipe_journal import WipeJournal

WRITTEN = Path(__file__).parents[1] / "fixtures" / "state-2026-11"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    shutil.copytree(WRITTEN, folder)
    return folder


def test_an_interrupted_restore_is_reported(state: Path) -> None:
    stopped, undefined = sorted(interrupted_restores(state))
    assert "what redis holds is undefined" in undefined
    assert "`mmstack restore --backup development/redis/rdb/20261127T010300Z-4e5f6a7b`" in undefined
    assert "services again: litellm, openwebui" in stopped
    journal = Journal(state / "journal")
    assert [one["service"] for one in journal.leftovers("restore/redis")] == ["redis"]
    assert len(interrupted_restores(state)) == 1


def test_a_killed_wipe_is_known_with_what_it_left(state: Path) -> None:
    (killed,) = WipeJournal(state / "wipes").killed()
    assert (killed.scope, killed.gone, killed.starts) == ("cache", 1, ("redis",))
    assert killed.left == (("volume", "v1", "multimodal-development-core_redis_data"),)


def test_scratch_objects_of_the_dead_and_kept_copies_are_told_apart(state: Path) -> None:
    locks = OwnerLocks(state / "scratch")
    found = {}
    for path in locks.paths():
        with locks.examined(path) as owner:
            found[path.stem] = owner
    assert found == {"e2b32125": "dead", "fb92231a": "kept"}


def test_sensors_go_on_from_their_cursors() -> None:
    assert Version.from_cursor('{"acted": "a", "pending": "b", "count": 3}') == Version("a", "b", 3)
    copies = Copies.from_cursor('{"asked": "d", "at": 12.5, "attempt": 2}')
    assert copies == Copies("d", 12.5, 2)
