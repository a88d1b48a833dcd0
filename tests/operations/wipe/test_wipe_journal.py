"""What is known of a wipe that was killed at any moment."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmstack_ops.domain.wipe.wipe_plan import WipeItem, WipePlan
from mmstack_ops.operations.wipe.wipe_journal import WipeJournal

ITEMS = (
    WipeItem("container", "c1", "redis-1", "redis"),
    WipeItem("volume", "redis_data@m", "redis_data", "redis"),
    WipeItem("network", "n1", "core"),
)


def plan(scope: str = "core", minute: int = 0) -> WipePlan:
    made = datetime(2026, 3, 1, 12, minute, tzinfo=UTC)
    return WipePlan("development", scope, "engine", made, ITEMS, starts=("redis",))


def kill_after(journal: WipeJournal, removed: int, scope: str = "core", minute: int = 0) -> None:
    """Have a process begin a wipe, remove so many things, and be killed."""
    child = os.fork()
    if child == 0:
        with journal.record(plan(scope, minute), holder="a test") as record:
            for item in ITEMS[:removed]:
                record.gone(item)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("removed", range(len(ITEMS) + 1))
def test_a_killed_wipe_is_told_with_what_is_left(tmp_path: Path, removed: int) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    kill_after(journal, removed)
    (killed,) = journal.killed()
    assert killed.scope == "core"
    assert killed.gone == removed
    assert killed.left == tuple((one.kind, one.id, one.name) for one in ITEMS[removed:])
    assert killed.starts == ("redis",)


def test_one_that_ended_is_no_news_and_settles_earlier_ones_of_its_scope(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    kill_after(journal, 1, "core", 0)
    kill_after(journal, 2, "db", 1)
    with journal.record(plan("core", 2), holder="a test"):
        pass
    assert [one.scope for one in journal.killed()] == ["db"]
    kill_after(journal, 3, "db", 3)
    assert [one.gone for one in journal.killed()] == [3]
    with journal.record(plan("environment", 4), holder="a test"):
        pass
    assert journal.killed() == ()


def test_one_that_goes_on_is_not_taken_for_a_killed_one(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    with journal.record(plan(), holder="a test") as record:
        record.gone(ITEMS[0])
        assert journal.killed() == ()


def test_one_that_failed_half_way_is_left_open(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")

    def fail() -> None:
        with journal.record(plan(), holder="a test") as record:
            record.gone(ITEMS[0])
            raise RuntimeError("the engine went away")

    with pytest.raises(RuntimeError):
        fail()
    assert journal.killed()[0].gone == 1


def test_a_line_that_was_cut_off_counts_as_not_written(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    kill_after(journal, 2)
    (path,) = (tmp_path / "wipes").glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert journal.killed()[0].gone == 1
    # Cut off in the plan itself: nothing had been removed then.
    path.write_bytes(whole[:20])
    assert journal.killed() == ()


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    many = tuple(WipeItem("container", f"c{n}", f"c{n}") for n in range(200))

    def interrupted() -> None:
        with journal.record(plan(), holder="a test") as record:
            threads = [
                threading.Thread(target=lambda part=part: [record.gone(o) for o in many[part::4]])
                for part in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert journal.killed()[0].gone == len(many)


def test_it_is_for_the_operator_alone(tmp_path: Path) -> None:
    journal = WipeJournal(tmp_path / "wipes")
    with journal.record(plan(), holder="a test"):
        pass
    (path,) = (tmp_path / "wipes").glob("*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
