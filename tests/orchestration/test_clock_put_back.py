"""What sensors remember of a moment that lies ahead: a clock was put back since."""

from __future__ import annotations

from mmstack_ops.domain.backups.sensor_cursors import Copies, Told
from mmstack_ops.domain.stacks.event_cursor import Watch

NOW = 1_790_000_000.0
AHEAD = NOW + 10 * 365 * 86400


def test_watching_begins_no_later_than_now() -> None:
    assert Watch.from_cursor(Watch(since=AHEAD).to_cursor(), now=NOW).since == NOW
    assert Told.from_cursor(Told(since=AHEAD).to_cursor(), now=NOW).since == NOW
    assert Watch.from_cursor(Watch(since=NOW - 5).to_cursor(), now=NOW).since == NOW - 5
    assert Told.from_cursor(Told(since=NOW - 5).to_cursor(), now=NOW).since == NOW - 5


def test_copies_that_were_asked_for_ahead_of_now_are_asked_for_again() -> None:
    first, asked = Copies().look(["a"], now=AHEAD, retry_after=1800.0)
    assert first is not None
    again, after = asked.look(["a"], now=NOW, retry_after=1800.0)
    assert again is not None
    assert again != first
    assert after.look(["a"], now=NOW + 60, retry_after=1800.0) == (None, after)
