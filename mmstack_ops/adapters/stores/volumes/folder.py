"""Access a volume's untrusted content through descriptors, without following links."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from mmstack_ops.domain.backups.files import TreeFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GET_FLAGS = 0x80086601
"""``FS_IOC_GETFLAGS`` of linux/fs.h."""
_PROTECTING = {0x10: "immutable", 0x20: "append-only"}
_KEPT_ATTRIBUTES = (
    "user.",
    "trusted.",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "security.capability",
)
"""Labels of SELinux and the like belong to the machine, not to the data."""
_ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")


class VolumeFolder:
    """One folder. Paths are relative to it, of any length; empty for the folder itself.

    Every method raises the ``OSError`` of the operating system. A path is refused
    (``NotADirectoryError``) if a part before the last is a link or anything else but a folder.

    Args:
        volume: the path of the volume on this host; trusted.
        below: the folder inside the volume; not trusted.
        make: create the missing parts of ``below``, each with the owner of its parent.
    """

    def __init__(self, volume: Path, below: str = "", *, make: bool = False) -> None:
        self._root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held: tuple[str, int] | None = None
        try:
            for part in below.split("/") if below else ():
                if make:
                    self._make(part)
                inner = os.open(part, _FOLDER, dir_fd=self._root)
                os.close(self._root)
                self._root = inner
        except BaseException:
            os.close(self._root)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        os.close(self._root)

    def descriptor(self, path: str = "") -> int:
        """Return a descriptor of a folder, valid until the next call."""
        if not path:
            return self._root
        if self._held is not None and self._held[0] == path:
            return self._held[1]
        start, rest = self._root, path
        held, self._held = self._held, None
        if held is not None and path.startswith(f"{held[0]}/"):
            start, rest = held[1], path[len(held[0]) + 1 :]
        elif held is not None:
            os.close(held[1])
        for part in rest.split("/"):
            try:
                _raise_unless_named(part, path)
                inner = os.open(part, _FOLDER, dir_fd=start)
            finally:
                if start != self._root:
                    os.close(start)
            start = inner
        self._held = (path, start)
        return start

    def forget(self) -> None:
        """Close the descriptor of the folder that was opened last: it was moved or deleted."""
        if self._held is not None:
            os.close(self._held[1])
            self._held = None

    def stat(self, path: str) -> os.stat_result:
        """Return the status of a path; a link isn't followed."""
        if not path:
            return os.fstat(self._root)
        descriptor, name = self._place(path)
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def entries(self, path: str = "") -> list[tuple[str, os.stat_result]]:
        """Return the entries of a folder, by name, without those deleted meanwhile."""
        found: list[tuple[str, os.stat_result]] = []
        with os.scandir(self.descriptor(path)) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
        return sorted(found, key=lambda one: one[0])

    def read(self, path: str) -> int:
        """Open a file for reading. Its access time stays unchanged: it belongs to its users."""
        descriptor, name = self._place(path)
        try:
            return os.open(name, _FILE | os.O_NOATIME, dir_fd=descriptor)
        except PermissionError:
            # Only its owner and root may use O_NOATIME.
            return os.open(name, _FILE, dir_fd=descriptor)

    def create(self, path: str) -> int:
        """Create a new file; return a descriptor that is open for writing."""
        descriptor, name = self._place(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=descriptor)

    def make_folder(self, path: str) -> None:
        """Create a new folder with a mode of its own: nothing is inherited from its parent."""
        descriptor, name = self._place(path)
        os.mkdir(name, 0o700, dir_fd=descriptor)
        inner = self.descriptor(path)
        for attribute in _ACCESS_LISTS:
            with _unless_missing():
                os.removexattr(inner, attribute)

    def make_special(self, path: str, file: TreeFile) -> dict[str, str]:
        """Create a symbolic link or a FIFO with all that ``dress`` sets; return what it returns."""
        descriptor, name = self._place(path)
        if file.kind == "symlink":
            os.symlink(file.target, name, dir_fd=descriptor)
        else:
            os.mkfifo(name, 0o600, dir_fd=descriptor)
        os.chown(name, file.uid, file.gid, dir_fd=descriptor, follow_symlinks=False)
        place = _by_process(descriptor, name)
        if file.kind != "symlink":
            Path(place).chmod(file.mode)
        refused = _set_attributes(place, file)
        times = (file.mtime_ns, file.mtime_ns)
        os.utime(name, ns=times, dir_fd=descriptor, follow_symlinks=False)
        return refused

    def link(self, existing: str, path: str) -> None:
        """Create a hard link to a file."""
        with self._second(existing) as (source, name):
            descriptor, new = self._place(path)
            os.link(name, new, src_dir_fd=source, dst_dir_fd=descriptor, follow_symlinks=False)

    def rename(self, path: str, to: str) -> None:
        """Move an entry to a path that doesn't exist."""
        if self.exists(to):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)
        with self._second(path) as (source, name):
            descriptor, new = self._place(to)
            os.rename(name, new, src_dir_fd=source, dst_dir_fd=descriptor)
        self.forget()

    def remove(self, path: str) -> None:
        """Delete a file, a link, or a folder with all its content."""
        descriptor, name = self._place(path)
        if not stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=descriptor)
            return
        pending = [path]
        while pending:
            here = pending[-1]
            inner = []
            for name, seen in self.entries(here):
                if stat.S_ISDIR(seen.st_mode):
                    inner.append(f"{here}/{name}")
                else:
                    os.unlink(name, dir_fd=self.descriptor(here))
            pending += inner
            if not inner:
                pending.pop()
                self.remove_empty(here)

    def remove_empty(self, path: str) -> None:
        """Delete an empty folder."""
        self.forget()
        descriptor, name = self._place(path)
        os.rmdir(name, dir_fd=descriptor)

    def attributes(self, path: str) -> dict[str, str]:
        """Return the extended attributes that are kept, of any kind of entry, in Base64."""
        if not path:
            return attributes_of(self._root)
        return attributes_of(_by_process(*self._place(path)))

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link."""
        descriptor, name = self._place(path)
        return os.readlink(name, dir_fd=descriptor)

    def _place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        _raise_unless_named(name, path)
        return self.descriptor(above), name

    @contextmanager
    def _second(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the folder and the name of a path; they stay valid while another path is opened."""
        descriptor, name = self._place(path)
        kept = os.dup(descriptor)
        try:
            yield kept, name
        finally:
            os.close(kept)

    def _make(self, name: str) -> None:
        try:
            os.mkdir(name, dir_fd=self._root)
        except FileExistsError:
            return
        owner = os.fstat(self._root)
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=self._root, follow_symlinks=False)


def dress(descriptor: int, file: TreeFile) -> dict[str, str]:
    """Set the owner, mode, attributes and time of an open file or folder.

    In this order: a change of owner clears the set-user-ID bit and capabilities.

    Returns:
        Attributes that the file system doesn't accept, or this process may not set: name → why.
    """
    os.fchown(descriptor, file.uid, file.gid)
    os.fchmod(descriptor, file.mode)
    refused = _set_attributes(descriptor, file)
    os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))
    return refused


def attributes_of(place: int | str) -> dict[str, str]:
    """Return the extended attributes that are kept: POSIX ACLs and capabilities among them."""
    follow = isinstance(place, int)
    found: dict[str, str] = {}
    with _unless_missing():
        for name in sorted(os.listxattr(place, follow_symlinks=follow)):
            if name.startswith(_KEPT_ATTRIBUTES):
                with _unless_missing():
                    value = os.getxattr(place, name, follow_symlinks=follow)
                    found[name] = b64encode(value).decode()
    return found


def protection_of(descriptor: int) -> str:
    """Return the flags (chattr) of an open file or folder that forbid changing or deleting it."""
    buffer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, buffer)
    except OSError:
        return ""  # The file system has no flags.
    flags = int.from_bytes(buffer[:4], "little")
    return ", ".join(name for bit, name in _PROTECTING.items() if flags & bit)


def _set_attributes(place: int | str, file: TreeFile) -> dict[str, str]:
    follow = isinstance(place, int)
    refused: dict[str, str] = {}
    for name, value in file.attributes.items():
        try:
            os.setxattr(place, name, b64decode(value), follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
            refused[name] = error.strerror or str(error)
    return refused


def _raise_unless_named(name: str, path: str) -> None:
    if name in ("", ".", "..") or "\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def _by_process(descriptor: int, name: str) -> str:
    """Return a path for calls that take no folder descriptor; it is as safe as one."""
    return f"/proc/self/fd/{descriptor}/{name}"


@contextmanager
def _unless_missing() -> Iterator[None]:
    """Ignore a missing attribute, or a file system without attributes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
