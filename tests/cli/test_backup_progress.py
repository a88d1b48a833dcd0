"""Progress of backups: bars on a terminal, one line for each news elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mmstack_ops.adapters.project import Project
from mmstack_ops.cli.output import live_bars
from mmstack_ops.cli.output.backup_bars import BackupBars
from mmstack_ops.cli.output.backup_progress import BackupLines, Event
from mmstack_ops.cli.output.stderr_display import backup_display
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupDone, BackupProgress, VerifyResult
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.domain.stacks.events import Progress
from tests.orchestration.backups.fake import NOW, FakeBackups


@pytest.fixture
def events(project: Project) -> list[Event]:
    manifest = FakeBackups(project.catalogue("production")).manifest_of(Series("redis", "rdb"))

    def stored(count: int) -> BackupProgress:
        return BackupProgress("redis", "rdb", "storing", "dump", count, 1000)

    return [
        Progress("", "", "waiting", "waiting for run 1a2b3c4d"),
        BackupProgress("redis", "rdb", "preparing", "asking the server"),
        *(stored(count) for count in (1, 500, 1000)),
        BackupProgress("redis", "rdb", "warning", "the clock [of it] jumped"),
        BackupDone(manifest, "local", 2.0, 1000),
        VerifyResult(manifest.ref, "local", NOW, 1.0, 10, ("its SHA-256 differs",)),
        PartFailed("postgres", "full", "local", "backup", "no room\n  do:  make some"),
    ]


def test_lines_say_each_phase_once(events: list[Event], capsys: pytest.CaptureFixture[str]) -> None:
    with BackupLines() as display:
        for event in events:
            display.show(event)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["run", "waiting"],
        ["redis/rdb", "preparing"],
        ["redis/rdb", "storing"],
        ["redis/rdb", "warning"],
        ["redis/rdb", "taken"],
        ["redis/rdb", "corrupt"],
        ["postgres/full", "failed"],
    ]
    assert lines[-1].endswith("no room")


def test_bars_fill_and_outcomes_stay(events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, markup=False)
    monkeypatch.setattr(live_bars, "stderr", lambda: console)
    with BackupBars() as display:
        for event in events[:5]:
            display.show(event)
        (task,) = [t for t in display.progress.tasks if t.description == "redis/rdb"]
        assert (task.completed, task.total) == (1000, 1000)
        for event in events[5:]:
            display.show(event)
    shown = screen.getvalue()
    assert "redis/rdb: the clock [of it] jumped" in shown
    assert "taken" in shown
    assert "its SHA-256 differs" in shown
    assert "no room" in shown


def test_without_a_terminal_there_are_no_bars() -> None:
    assert isinstance(backup_display(), BackupLines)
