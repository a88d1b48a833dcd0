"""A storage tier in a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mmstack_ops.adapters.storage.keys import checked_key, checked_prefix
from mmstack_ops.adapters.storage.local.directory_files import Reader, Writer
from mmstack_ops.adapters.storage.local.directory_walk import DIRECTORY, walk
from mmstack_ops.adapters.storage.quota import Quota
from mmstack_ops.domain.backups.tier import FileReader, Folder, StoredFile, Usage
from mmstack_ops.domain.errors import (
    FileMissingError,
    ImmutableError,
    TierError,
    TierFullError,
    TierUnavailableError,
)
from mmstack_ops.domain.units import format_bytes

_INCOMING = ".incoming"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_GONE = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EROFS, errno.EACCES, errno.EPERM}
    | {errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV}
)


class DirectoryTier:
    """A tier that stores files below a folder, under their keys.

    A file is written under ``.incoming``, synced to disk, and linked to its name in one
    step that never replaces anything. Folders have mode 0700, files 0600.

    Args:
        name: the tier's name in the schema.
        root: the folder; created on the first write.
        quota: bytes; None for no quota.
    """

    def __init__(self, name: str, root: Path, *, quota: int | None = None) -> None:
        self.name = name
        self.root = root
        self._quota = Quota(name, quota, self._count)

    def check(self, *, writing: bool) -> None:
        """Raise unless the folder can be used. See ``Tier.check``."""
        if not writing:
            with self._looked_at():
                return
        with self._opened() as root:
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=root):
                raise self._unavailable("this process may not write there")

    @contextmanager
    def create(self, key: str, *, expected_size: int | None = None) -> Iterator[Writer]:
        """Write a file. See ``Tier.create``."""
        parts = checked_key(key)
        with self._opened() as root:
            if self._stat(root, key) is not None:
                raise self._taken(key)
            if expected_size is not None:
                self._require_space(root, expected_size)
            reservation = self._quota.reserve(expected_size)
            kept = 0
            writer: Writer | None = None
            try:
                with self._translated(f"write {key}"):
                    self._make_folders(root, (_INCOMING,))
                    temporary = f"{_INCOMING}/{secrets.token_hex(8)}"
                    writer = Writer(self.failure, root, temporary, reservation)
                yield writer
                with self._translated(f"write {key}"):
                    writer.finish()
                    self.require_same(root)
                    self._publish(root, temporary, parts)
                kept = writer.written
            finally:
                if writer is not None:
                    writer.close(root)
                reservation.settle(kept)

    @contextmanager
    def read(self, key: str) -> Iterator[FileReader]:
        """Read a file. See ``Tier.read``."""
        checked_key(key)
        with self._looked_at() as root:
            if root is None or self._stat(root, key) is None:
                raise self._missing(key)
            try:
                with self._translated(f"read {key}"):
                    descriptor = os.open(
                        key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root
                    )
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            except FileNotFoundError:
                raise self._missing(key) from None
            reader = Reader(self.failure, key, descriptor)
            try:
                yield reader
            finally:
                reader.close()

    def size(self, key: str) -> int | None:
        """Return a file's size in bytes. See ``Tier.size``."""
        checked_key(key)
        with self._looked_at() as root:
            found = None if root is None else self._stat(root, key)
        return None if found is None else found.st_size

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield the published files. See ``Tier.list``."""
        with self._looked_at() as root:
            for folder, descriptor, names in self._walk(root, prefix):
                base = f"{folder}/" if folder else ""
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        # Skip files that were deleted meanwhile.
                        size = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
                        yield StoredFile(base + name, size)

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        """Yield the folders, without sizes. See ``Tier.folders``."""
        with self._looked_at() as root:
            for folder, _, names in self._walk(root, prefix):
                yield folder, names, None

    def _walk(self, root: int | None, prefix: str) -> Iterator[tuple[str, int, Sequence[str]]]:
        """Walk below ``root``; yield nothing before the first write."""
        start = checked_prefix(prefix)
        if root is not None:
            yield from walk(root, start, prefix, self.failure)
            # A file system that was unmounted meanwhile looks like deleted folders. A caller
            # that gets an incomplete list may delete what the missing part needs.
            self.require_same(root)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files in order. See ``Tier.delete``."""
        with self._opened() as root:
            for key in keys:
                parts = checked_key(key)
                found = self._stat(root, key)
                if found is None:
                    continue
                with self._translated(f"delete {key}"):
                    os.unlink(key, dir_fd=root)
                    self._sync_folder(root, "/".join(parts[:-1]))
                self._quota.release(found.st_size)
                self._drop_empty_folders(root, parts[:-1])

    def usage(self) -> Usage:
        """Return the usage of the tier. See ``Tier.usage``."""
        with self._looked_at() as root:
            space = None if root is None else os.fstatvfs(root)
        return Usage(
            used=self._quota.used(),
            quota=self._quota.limit,
            free=None if space is None else space.f_bavail * space.f_frsize,
        )

    def sweep(self, *, older_than: datetime, tell: Callable[[str], None]) -> None:
        """Delete what killed writers left. See ``Tier.sweep``.

        A writer holds a lock on its file: a locked file is never deleted, whatever its age.
        """
        with self._opened() as root:
            try:
                names = [path.name for path in (self.root / _INCOMING).iterdir()]
            except FileNotFoundError:
                return
            for name in names:
                path = f"{_INCOMING}/{name}"
                with self._translated(f"clean up {path}"), contextlib.suppress(FileNotFoundError):
                    descriptor = os.open(
                        path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root
                    )
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        seen = os.fstat(descriptor)
                        if seen.st_mtime < older_than.timestamp():
                            os.unlink(path, dir_fd=root)
                            tell(f"{path}, {format_bytes(seen.st_size)} that a killed writer left")
                    except BlockingIOError:
                        continue
                    finally:
                        os.close(descriptor)

    def require_usable(self) -> None:
        """Raise if the folder can't be used; a plain folder always can."""

    def require_same(self, root: int) -> None:
        """Raise if the tier's folder is no longer the one that was opened as ``root``.

        Files may then be on the wrong disk, for example below an unmounted mount point.
        """
        self.require_usable()
        try:
            now, then = self.root.stat(), os.fstat(root)
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None
        if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino):
            raise self._unavailable("its folder was replaced or unmounted while it was in use")

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the root folder for changes; all operations use its descriptor."""
        self.require_usable()
        try:
            self._make_root()
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None
        try:
            self._raise_if_deleted(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _looked_at(self) -> Iterator[int | None]:
        """Open the root folder for reading; yield None before the first write."""
        self.require_usable()
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None
        try:
            self._raise_if_deleted(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _raise_if_deleted(self, root: int) -> None:
        # A mount keeps a deleted folder alive: it looks empty, and nothing can be created in it.
        if os.fstat(root).st_nlink == 0:
            raise self._unavailable("its folder was deleted below the mount")

    def _make_root(self) -> None:
        if not self.root.exists():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _publish(self, root: int, temporary: str, parts: tuple[str, ...]) -> None:
        key = "/".join(parts)
        while True:
            try:
                self._make_folders(root, parts[:-1])
                os.link(temporary, key, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
                break
            except FileExistsError:
                raise self._taken(key) from None
            except FileNotFoundError:
                if self._stat(root, temporary) is None:
                    raise TierError(
                        f"tier {self.name} can't write {key}",
                        why=f"{temporary} was removed while it was written",
                        remedy="let nothing but `mmstack` clean up there, and run it again",
                    ) from None
                # The last file of this folder was deleted, and the folder with it.
                continue
            except NotADirectoryError:
                raise TierError(
                    f"tier {self.name} can't write {key}",
                    why="a file stands where it needs a folder",
                ) from None
        self._sync_folder(root, "/".join(parts[:-1]))

    def _make_folders(self, root: int, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            try:
                os.mkdir(folder, mode=0o700, dir_fd=root)
            except FileExistsError:
                continue
            except FileNotFoundError:
                # Deleted meanwhile because it was empty; start again from the top.
                self._raise_if_deleted(root)
                return self._make_folders(root, parts)
            self._sync_folder(root, "/".join(parts[: depth - 1]))
        return None

    def _sync_folder(self, root: int, folder: str) -> None:
        try:
            descriptor = os.open(folder or ".", DIRECTORY, dir_fd=root)
        except FileNotFoundError:
            # Deleted because it became empty: there is nothing in it to sync.
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _drop_empty_folders(self, root: int, parts: tuple[str, ...]) -> None:
        for depth in range(len(parts), 0, -1):
            try:
                os.rmdir("/".join(parts[:depth]), dir_fd=root)
            except OSError:
                # Not empty, or in use: keeping it does no harm.
                return

    def _stat(self, root: int, key: str) -> os.stat_result | None:
        try:
            with self._translated(f"look at {key}"):
                found = os.stat(key, dir_fd=root, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def _require_space(self, root: int, size: int) -> None:
        space = os.fstatvfs(root)
        free = space.f_bavail * space.f_frsize
        if size > free:
            raise TierFullError(
                f"tier {self.name} has no room for {format_bytes(size)}",
                why=f"{format_bytes(free)} are free at {self.root}",
                remedy="free space there, or let retention remove old backups",
            )

    def _count(self) -> int:
        return sum(file.size for file in self.list())

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Convert file system errors to ours; a missing file and the like are raised unchanged."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, NotADirectoryError, BlockingIOError):
            raise
        except OSError as error:
            raise self.failure(error, doing) from None

    def failure(self, error: OSError, doing: str) -> TierError:
        """Return our error for an error of the file system."""
        if error.errno in _FULL:
            free = "unknown"
            with contextlib.suppress(OSError):
                space = os.statvfs(self.root)
                free = format_bytes(space.f_bavail * space.f_frsize)
            return TierFullError(
                f"tier {self.name} is full: can't {doing}",
                why=f"{error.strerror}; {free} are free at {self.root}",
                remedy="free space there, or let retention remove old backups",
            )
        if error.errno in _GONE:
            return self._unavailable(f"can't {doing}: {error.strerror}")
        return TierError(f"tier {self.name} can't {doing}", why=error.strerror or str(error))

    def _unavailable(self, why: str) -> TierUnavailableError:
        return TierUnavailableError(
            f"tier {self.name} can't be used: {self.root}",
            why=why,
            remedy="check that the folder exists, is mounted, and belongs to this user",
        )

    def _missing(self, key: str) -> FileMissingError:
        return FileMissingError(f"tier {self.name} holds no file {key}")

    def _taken(self, key: str) -> ImmutableError:
        return ImmutableError(
            f"tier {self.name} already holds {key}",
            why="files on a tier are never replaced",
            remedy="this is a bug, or two backups had the same name: run it again",
        )
