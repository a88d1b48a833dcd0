"""Walk the files below a folder, by descriptors: fast, and without leaving the folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from mmstack_ops.domain.errors import TierError

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a directory itself, never the target of a link."""


def walk(
    root: int, start: str, prefix: str, failure: Callable[[OSError, str], TierError]
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each folder with files: its key, its descriptor, and the names of its files.

    There are few steps for each file, and no path longer than a name is looked up: 100,000
    backups are 300,000 files. Top-level names that start with a dot belong to the tier and are
    skipped.

    Args:
        root: descriptor of the top folder.
        start: key of the folder to start with.
        prefix: only files whose keys start with it.
        failure: converts an error of the file system to ours.
    """
    pending = [start]
    while pending:
        here = pending.pop()
        base = f"{here}/" if here else ""
        whole = base.startswith(prefix)
        names: list[str] = []
        try:
            descriptor = os.open(here or ".", DIRECTORY, dir_fd=root)
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        name = entry.name
                        if not base and name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            key = base + name
                            if whole or key.startswith(prefix) or prefix.startswith(f"{key}/"):
                                pending.append(key)
                        elif (whole or (base + name).startswith(prefix)) and entry.is_file(
                            follow_symlinks=False
                        ):
                            names.append(name)
                if names:
                    yield here, descriptor, names
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            continue  # Skip it: it was deleted meanwhile.
        except OSError as error:
            raise failure(error, f"list {here or 'its folder'}") from None
