"""Walk folders of volumes and describe every entry as it must be restored."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from mmstack_ops.adapters.stores.volumes.folder import (
    VolumeFolder,
    attributes_of,
    protection_of,
)
from mmstack_ops.artifacts.sparse import DataReader, data_ranges
from mmstack_ops.domain.backups.files import TreeFile

_BLOCK = 1 << 20

Report = Callable[[str, str], None]
"""Receives the path of what a walk can't yield, and why."""


def walk(
    folder: VolumeFolder,
    name: str,
    *,
    passes_over: Callable[[str], bool],
    report: Report,
    report_flags: Report = lambda _, __: None,
    at: str = "",
) -> Iterator[TreeFile]:
    """Yield every folder, file, link and FIFO, each folder before its content.

    Args:
        name: what their paths begin with.
        passes_over: returns whether to skip a path and everything below it.
        report: called for what can't be read, and for devices.
        report_flags: called with the flags (chattr) that protect an entry.
        at: where in ``folder`` to begin.

    Raises:
        OSError: the folder at ``at`` can't be read.
    """
    names: dict[tuple[int, int], str] = {}
    pending = [at]
    while pending:
        here = pending.pop()
        path = _joined(name, here[len(at) :])
        try:
            descriptor = folder.descriptor(here)
            seen = os.fstat(descriptor)
            _report_protection(descriptor, path, report_flags)
            found_folder = _tree_file(path, "dir", seen, attributes_of(descriptor))
            entries = folder.entries(here)
        except (FileNotFoundError, NotADirectoryError):
            if here == at:
                raise
            continue  # Deleted, or replaced by a file, since its parent was read.
        except OSError as error:
            if here == at:
                raise
            report(path, error.strerror or str(error))
            continue
        yield found_folder
        for entry, seen in entries:
            inside = f"{here}/{entry}" if here else entry
            path = _joined(name, inside[len(at) :])
            if passes_over(path):
                continue
            if stat.S_ISDIR(seen.st_mode):
                pending.append(inside)
                continue
            try:
                found = _entry(folder, inside, path, seen, report, report_flags)
            except FileNotFoundError:
                continue  # Deleted since its folder was read.
            except OSError as error:
                report(path, error.strerror or str(error))
                continue
            if found is not None:
                yield _first_name(found, seen, names)


def digest_of(folder: VolumeFolder, place: str, file: TreeFile) -> str:
    """Return the SHA-256 of a file's content (of a sparse file's ranges); empty for other entries.

    Raises:
        OSError: the file can't be read.
    """
    if file.kind != "file":
        return ""
    digest = hashlib.sha256()
    with io.FileIO(folder.read(place), "rb") as source:
        plain = cast("BinaryIO", source)
        reader = plain if file.data is None else DataReader(plain, file.data)
        while block := reader.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def described(file: TreeFile, sha256: str = "") -> str:
    """Return the properties of an entry that a restore must reproduce.

    Args:
        sha256: the SHA-256 of its content, if it has any.
    """
    if file.kind == "hardlink":
        return f"hard link to {file.target}"
    mode = "" if file.kind == "symlink" else f" mode={file.mode:04o}"
    text = f"{file.kind}{mode} owner={file.uid}:{file.gid} time={file.mtime_ns}"
    if file.kind == "file":
        text += f" size={file.size} sha256={sha256}"
    if file.kind == "symlink":
        text += f" to {file.target}"
    if file.attributes:
        text += f" attributes={_short(sorted(file.attributes.items()))}"
    if file.data is not None:
        text += f" holes={_short(file.data)}"
    return text


def _joined(name: str, rest: str) -> str:
    rest = rest.lstrip("/")
    return f"{name}/{rest}" if rest else name


def _entry(
    folder: VolumeFolder,
    inside: str,
    path: str,
    seen: os.stat_result,
    report: Report,
    report_flags: Report,
) -> TreeFile | None:
    if stat.S_ISREG(seen.st_mode):
        return _regular(folder, inside, path, report_flags)
    if stat.S_ISLNK(seen.st_mode):
        target = folder.readlink(inside)
        return _tree_file(path, "symlink", seen, folder.attributes(inside), target=target)
    if stat.S_ISFIFO(seen.st_mode):
        return _tree_file(path, "fifo", seen, folder.attributes(inside))
    if not stat.S_ISSOCK(seen.st_mode):
        report(path, "it is a device")
    return None


def _regular(folder: VolumeFolder, inside: str, path: str, report_flags: Report) -> TreeFile:
    descriptor = folder.read(inside)
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise FileNotFoundError  # Something else is there by now.
        _report_protection(descriptor, path, report_flags)
        attributes = attributes_of(descriptor)
        ranges = data_ranges(descriptor, seen)
    finally:
        os.close(descriptor)
    return _tree_file(path, "file", seen, attributes, data=ranges)


def _first_name(
    file: TreeFile, seen: os.stat_result, names: dict[tuple[int, int], str]
) -> TreeFile:
    """Return a file, as a hard link if another of its names was found before."""
    if file.kind != "file" or seen.st_nlink < 2:
        return file
    first = names.setdefault((seen.st_dev, seen.st_ino), file.path)
    if first == file.path:
        return file
    return replace(file, kind="hardlink", target=first)


def _tree_file(
    path: str,
    kind: str,
    seen: os.stat_result,
    attributes: dict[str, str],
    *,
    target: str = "",
    data: tuple[tuple[int, int], ...] | None = None,
) -> TreeFile:
    # Packs held entries with attributes in another form before: these are stored again once.
    form = ":a" if attributes else ""
    return TreeFile(
        path=path,
        kind=kind,
        size=seen.st_size if kind == "file" else 0,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        target=target,
        version=f"{seen.st_ino}:{seen.st_ctime_ns}{form}" if kind == "file" else "",
        attributes=attributes,
        data=data,
    )


def _report_protection(descriptor: int, path: str, report_flags: Report) -> None:
    if flags := protection_of(descriptor):
        report_flags(path, flags)


def _short(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()[:16]
