"""An entry of a tree that is backed up incrementally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file, folder or link of a tree that is backed up incrementally."""

    path: str
    """Relative, with ``/``; any bytes a file system allows (surrogateescape)."""
    kind: str
    """``file``, ``dir``, ``symlink``, ``hardlink`` or ``object`` (of a bucket)."""
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    """Of a link."""
    version: str = ""
    """What changes when the content does, where the source has such a thing: inode and change
    time of a file, ETag and version id of an object."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Of an object: content type, tags, user metadata; of a file: extended attributes."""
