"""An entry of a tree that is backed up incrementally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file, folder or link of a tree that is backed up incrementally."""

    path: str
    """Relative path with ``/``; any bytes that a file system allows (surrogateescape)."""
    kind: str
    """``file``, ``dir``, ``symlink``, ``hardlink``, ``fifo`` or ``object`` (of a bucket)."""
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    """For a symbolic link, its target; for a hard link, the path of the entry with the content."""
    version: str = ""
    """A value that changes with the content, if the source has one: inode and change time of a
    file, ETag and version id of an object."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """For an object: content type, tags, user metadata. For anything else: extended attributes,
    including POSIX ACLs and file capabilities, in Base64."""
    data: tuple[tuple[int, int], ...] | None = None
    """For a sparse file: the ranges (offset, length) that contain data; only these are stored.
    None for a file without holes."""

    @property
    def stored_size(self) -> int:
        """Bytes of content that are stored."""
        if self.data is None:
            return self.size
        return sum(length for _, length in self.data)
