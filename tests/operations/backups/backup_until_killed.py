"""A process that takes backups of a tree until it is killed. Run by test_killed.py."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier
from mmstack_ops.artifacts.delete import delete_backup
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.operations.backups.copy import copy_artifact
from mmstack_ops.operations.backups.garbage_collect import sweep_series
from tests.operations.backups.sample_backups import opener, ref_at, scan, take_tree

SERVICE, TYPE = "n8n", "full"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Back up ``folder/source``, copy, delete the oldest, sweep, again and again."""
    local = DirectoryTier("local", folder / "local")
    remote = DirectoryTier("remote", folder / "remote")
    source = folder / "source"
    taken = []
    number = 0
    while True:
        number += 1
        # Half of the files change each time, so that packs wear out and get rewritten.
        for at in range(number % 2, 30, 2):
            (source / f"f{at}").write_bytes(bytes([number % 256, at]) * 20_000)
        now = datetime.now(UTC)
        manifest = take_tree(
            local,
            scan(source),
            opener(source),
            ref=ref_at(now, service=SERVICE, type_name=TYPE),
            pack_bytes=200_000,
            now=now,
        )
        taken.append(manifest.ref)
        _say(f"taken {manifest.ref}")
        copy_artifact(
            local,
            remote,
            manifest.ref,
            throttle=Throttle(threading.Event()),
            progress=lambda count: None,
            tell=lambda message: None,
        )
        _say(f"copied {manifest.ref}")
        if len(taken) > 2:
            oldest = taken.pop(0)
            _say(f"deleting {oldest}")
            for tier in (local, remote):
                delete_backup(tier, oldest)
                sweep_series(
                    tier,
                    oldest.series,
                    # Everything is past its grace: as hard as it can be.
                    now=datetime.max.replace(tzinfo=UTC),
                    tell=lambda message: None,
                    throttle=Throttle(threading.Event()),
                )


main(Path(sys.argv[1]))
