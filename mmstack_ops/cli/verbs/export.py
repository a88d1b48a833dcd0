"""`mmstack export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmstack_ops.cli.parameters import AsJson, Backup, Environment, Tier

if TYPE_CHECKING:
    from mmstack_ops.cli.session import Session


def export(
    context: typer.Context,
    backup: Backup,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The tar to write.")],
    tier: Tier = None,
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """Write one backup as a plain tar, to carry away and restore by hand anywhere."""
    import threading

    from mmstack_ops.cli.backup_choice import find_backup, known_tier
    from mmstack_ops.cli.output.stderr_display import backup_display

    session: Session = context.obj.named(environment)
    ref = find_backup(session, backup)
    source = known_tier(session, tier)
    with backup_display() as display:
        # It only reads the tiers: no run. Ctrl-C ends it, and the unfinished file is deleted.
        written = session.backups.export(
            ref, path, tier=source, cancel=threading.Event(), on_event=display.show
        )
    if as_json:
        from mmstack_ops.cli.output.documents import print_json

        print_json({"backup": str(ref), "file": str(path), "bytes": written})
    else:
        typer.echo(f"{path}: {written} bytes")
