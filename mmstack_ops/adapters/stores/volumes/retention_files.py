"""Delete old files in a service's volumes, and rotate logs that nothing else rotates."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from mmstack_ops.adapters.stores.retention_strategy import (
    Gone,
    Site,
    counted,
    folder_inside,
    opened_inside,
)
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import FilesRule

_ROTATED = re.compile(r"\.\d{8}T\d{6}Z\.zst$")
_NAMED = 1_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class _File:
    """A file that the rule applies to.

    Args:
        path: relative to the rule's folder.
        folder: an open descriptor of its folder, so that a folder that is replaced by a link
            meanwhile leads nowhere else; valid until the next file is requested.
    """

    path: str
    name: str
    folder: int
    size: int
    written: datetime
    fate: Literal["stays", "goes", "is rotated"]


class VolumeFiles:
    """Files last written before the moment, and folders that their deletion leaves empty.

    Rotation writes a compressed copy next to a log and truncates the log: processes that have it
    open can go on writing. Lines written between the two steps (microseconds) are lost.
    """

    needs_running: ClassVar[bool] = False

    def look(self, site: Site, rule: FilesRule) -> Found:
        """Count files; see ``Strategy.look``."""
        total = expired = freed = rotated = 0
        oldest: datetime | None = None
        newest: datetime | None = None
        names: list[str] = []
        with _opened(site, rule) as root:
            for file in _files(site, rule, root):
                total += 1
                oldest = file.written if oldest is None else min(oldest, file.written)
                newest = file.written if newest is None else max(newest, file.written)
                if file.fate == "stays":
                    continue
                expired += 1
                if file.fate == "goes":
                    freed += file.size
                else:
                    rotated += 1
                if len(names) < _NAMED:
                    names.append(file.path)
        return Found(
            things="files",
            total=total,
            expired=expired,
            freed_bytes=freed,
            oldest=oldest,
            newest=newest,
            names=tuple(names),
            notes=(f"{rotated} of them are compressed and emptied, not deleted",)
            if rotated
            else (),
        )

    def clean(self, site: Site, rule: FilesRule) -> Gone:
        """Delete and rotate files; see ``Strategy.clean``."""
        rotated = 0
        emptied: set[str] = set()
        with counted(site, "files") as tally, _opened(site, rule) as root:
            for file in _files(site, rule, root):
                site.check()
                if file.fate == "is rotated":
                    tally.freed_bytes += _rotate(file)
                    tally.count += 1
                    rotated += 1
                elif file.fate == "goes" and _unlink(site, file):
                    tally.freed_bytes += file.size
                    tally.count += 1
                    emptied.add(file.path.rpartition("/")[0])
            _remove_empty(root, emptied)
        notes = (f"{rotated} of them were rotated",) if rotated else ()
        return Gone(tally.count, tally.freed_bytes, notes)


@contextmanager
def _opened(site: Site, rule: FilesRule) -> Iterator[int]:
    """Yield a descriptor of the rule's folder."""
    if not folder_inside(site, rule.path).is_dir():
        raise RetentionError(
            f"{site.instance.service} has no folder {rule.path}",
            why="the schema declares a retention for it",
            remedy="correct the rule's path, or take the rule out of the schema",
        )
    with opened_inside(site, rule.path) as descriptor:
        yield descriptor


def _files(site: Site, rule: FilesRule, root: int) -> Iterator[_File]:
    """Yield matching files, the deepest first; links to folders aren't followed."""
    for folder, _, names, descriptor in os.fwalk(".", topdown=False, onerror=_give_up, dir_fd=root):
        site.check()
        below = os.path.relpath(folder, ".")
        for name in sorted(names):
            path = name if below == "." else f"{below}/{name}"
            if not _matches(path, rule):
                continue
            try:
                seen = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            written = from_epoch(seen.st_mtime)
            fate: Literal["stays", "goes", "is rotated"] = "stays"
            if written < site.before:
                fate = "goes"
            elif _to_rotate(rule, name, seen):
                fate = "is rotated"
            yield _File(path, name, descriptor, seen.st_size, written, fate)


def _matches(path: str, rule: FilesRule) -> bool:
    # A rotated file belongs to its log.
    own = _ROTATED.sub("", path)
    return any(fnmatchcase(own, pattern) for pattern in rule.patterns)


def _to_rotate(rule: FilesRule, name: str, seen: os.stat_result) -> bool:
    return (
        rule.rotate_above is not None
        and seen.st_size > rule.rotate_above
        and stat.S_ISREG(seen.st_mode)
        and not _ROTATED.search(name)
    )


def _unlink(site: Site, file: _File) -> bool:
    """Delete a file unless it was written to again; return whether it was deleted."""
    try:
        seen = os.stat(file.name, dir_fd=file.folder, follow_symlinks=False)
        if from_epoch(seen.st_mtime) >= site.before:
            return False
        os.unlink(file.name, dir_fd=file.folder)
    except FileNotFoundError:
        return False
    return True


def _rotate(file: _File) -> int:
    """Write a compressed copy next to a log, then truncate the log; return the bytes saved.

    Raises:
        RetentionError: the copy couldn't be written; the log is unchanged.
    """
    import zstandard

    name = f"{file.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zst"
    part = f".{name}.part"
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    source = os.open(file.name, flags, dir_fd=file.folder)
    try:
        seen = os.fstat(source)
        made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(part, made, 0o600, dir_fd=file.folder)
        try:
            with os.fdopen(target, "wb") as copy:
                os.fchown(copy.fileno(), seen.st_uid, seen.st_gid)
                os.fchmod(copy.fileno(), stat.S_IMODE(seen.st_mode))
                with zstandard.ZstdCompressor().stream_writer(copy, closefd=False) as packed:
                    while block := os.read(source, _BLOCK):
                        packed.write(block)
                copy.flush()
                os.fsync(copy.fileno())
                stored = os.fstat(copy.fileno()).st_size
            os.rename(part, name, src_dir_fd=file.folder, dst_dir_fd=file.folder)
            os.fsync(file.folder)
        except OSError as error:
            raise RetentionError(
                f"{file.path} wasn't rotated",
                why=error.strerror or str(error),
                remedy="make room on the engine's disk; the log is as it was",
            ) from None
        finally:
            _forget(part, file.folder)
        os.ftruncate(source, 0)
    finally:
        os.close(source)
    return max(0, seen.st_size - stored)


def _forget(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _remove_empty(root: int, emptied: set[str]) -> None:
    """Delete folders that the clean-up left empty, and parent folders that became empty."""
    for below in sorted(emptied, key=len, reverse=True):
        parts = below.split("/") if below else []
        while parts:
            try:
                _remove_folder(root, parts)
            except OSError:
                # It isn't empty, it was deleted, or its path contains a link: leave it.
                break
            parts.pop()


def _remove_folder(root: int, parts: Sequence[str]) -> None:
    """Delete an empty folder below ``root``; no part of its path may be a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.dup(root)
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.rmdir(parts[-1], dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _give_up(error: OSError) -> None:
    raise RetentionError(
        f"{error.filename} can't be read",
        why=error.strerror or str(error),
        remedy="run as root on the engine's host",
    )
