"""The inventory of volumes: a look at what is there that no filter of the backup touches."""

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
    """Return what of the volumes isn't in a backup: not covered → why, excluded → which rule.

    What was made or changed since the backup looked last, and isn't in it, is newer than it.

    Args:
        folders: with what paths begin → the folder.
        stored: paths that are in the backup.
        unread: paths that it names as not covered already.
        rule: returns which rule leaves a path out; empty for none.
        since: when it looked last, in nanoseconds.
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
