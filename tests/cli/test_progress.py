"""Progress: bars on a terminal, one line for each news elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mmstack_ops.cli.output import live_bars
from mmstack_ops.cli.output.bars import BarDisplay
from mmstack_ops.cli.output.progress import LineDisplay
from mmstack_ops.cli.output.stderr_display import progress_display
from mmstack_ops.domain.stacks.events import Progress
from tests.cli.fakes import POSTGRES_UP, REDIS_DOWN, STARTING


def pull(fraction: float) -> Progress:
    return Progress("redis", "core", "pulling", f"{fraction:.0%}", fraction)


def test_lines_say_each_phase_once(capsys: pytest.CaptureFixture[str]) -> None:
    with LineDisplay() as display:
        for event in (STARTING, STARTING, pull(0.1), pull(0.5), pull(0.9), POSTGRES_UP, REDIS_DOWN):
            display.show(event)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["postgres", "starting"],
        ["redis", "pulling"],
        ["postgres", "created"],
        ["redis", "failed"],
    ]
    assert "didn't become healthy" in lines[-1]


def test_bars_show_what_is_done_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, markup=False)
    monkeypatch.setattr(live_bars, "stderr", lambda: console)
    warning = Progress("redis", "core", "warning", "going back [to] the old one")
    with BarDisplay() as display:
        for event in (STARTING, pull(0.5), warning, POSTGRES_UP, REDIS_DOWN):
            display.show(event)
    shown = screen.getvalue()
    assert "redis: going back [to] the old one" in shown
    last = shown[shown.rindex("postgres") :]
    assert "created" in last
    assert "failed: redis didn't become healthy" in last


def test_without_a_terminal_there_are_no_bars() -> None:
    assert isinstance(progress_display(), LineDisplay)
