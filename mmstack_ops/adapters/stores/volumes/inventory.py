"""Take an inventory of volumes, independent of the filters of the backup."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Mapping

from mmstack_ops.adapters.stores.volumes.folder import VolumeFolder
from mmstack_ops.domain.backups.facts import is_below


def account_for(
    folders: Mapping[str, VolumeFolder],
    *,
    stored: Collection[str],
    unread: Collection[str],
    rule: Callable[[str], str],
    since: int,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what on the volumes isn't in a backup: not covered → why, excluded → which rule.

    What was created or changed since the last scan of the backup, and isn't in the backup, is
    newer than the backup.

    Args:
        folders: what paths begin with → the folder.
        stored: paths that are in the backup.
        unread: paths that the backup already lists as not covered.
        rule: returns the rule that leaves a path out; empty if there is none.
        since: the time of the last scan, in nanoseconds.
    """
    not_covered: dict[str, str] = {}
    excluded: dict[str, str] = {}
    for name, folder in folders.items():
        pending = [""]
        while pending:
            here = pending.pop()
            try:
                entries = folder.entries(here)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                path = f"{name}/{here}".rstrip("/")
                if not is_below(path, unread):
                    not_covered[path] = error.strerror or str(error)
                continue
            for entry, seen in entries:
                inside = f"{here}/{entry}" if here else entry
                path = f"{name}/{inside}"
                if path in stored:
                    pass
                elif why := rule(path):
                    excluded[path] = why
                    continue
                elif stat.S_ISSOCK(seen.st_mode):
                    excluded[path] = "a socket"
                    continue
                elif is_below(path, unread):
                    continue
                elif seen.st_ctime_ns < since:
                    not_covered[path] = "it wasn't taken"
                    continue
                if stat.S_ISDIR(seen.st_mode):
                    pending.append(inside)
    return not_covered, excluded
