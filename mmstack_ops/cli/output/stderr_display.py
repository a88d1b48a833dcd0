"""Choose the display that suits stderr: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys

from mmstack_ops.cli.output.backup_progress import BackupLines, Event
from mmstack_ops.cli.output.display import Display
from mmstack_ops.cli.output.progress import LineDisplay
from mmstack_ops.domain.stacks.events import ApplyEvent


def progress_display() -> Display[ApplyEvent]:
    """Return the display of a run on stacks."""
    if sys.stderr.isatty():
        from mmstack_ops.cli.output.bars import BarDisplay

        return BarDisplay()
    return LineDisplay()


def backup_display() -> Display[Event]:
    """Return the display of a run on backups."""
    if sys.stderr.isatty():
        from mmstack_ops.cli.output.backup_bars import BackupBars

        return BackupBars()
    return BackupLines()
