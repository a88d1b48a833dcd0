"""Volumes read through the engine's archive of a container: for those no path leads to."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from mmstack_ops.adapters.backups.types.base import Instance, Workbench
from mmstack_ops.adapters.backups.types.volume_roots import Root, Wanted
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileVanishedError


def scan_archive(
    bench: Workbench, instance: Instance, root: Root, wanted: Wanted
) -> Iterator[TreeFile]:
    """Yield what stands in a volume. The whole of it comes over for that, content included."""
    with (
        bench.read_tree(instance, root.target) as stream,
        tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive,
    ):
        for member in archive:
            inside = member.name.removeprefix("./").rstrip("/").removeprefix(".")
            path = f"{root.name}/{inside}" if inside else root.name
            if (member.isdir() or member.isreg() or member.issym()) and wanted(path):
                yield TreeFile(
                    path=path,
                    kind="dir" if member.isdir() else "symlink" if member.issym() else "file",
                    size=member.size if member.isreg() else 0,
                    mode=member.mode & 0o7777,
                    uid=member.uid,
                    gid=member.gid,
                    mtime_ns=int(float(member.mtime) * 1e9),
                    target=member.linkname if member.issym() else "",
                )


class ArchivedFile(io.RawIOBase):
    """One file read through the engine's archive of it."""

    def __init__(
        self, bench: Workbench, instance: Instance, target: str, path: str, file: TreeFile
    ) -> None:
        super().__init__()
        parent, _, name = path.rpartition("/")
        self._context = bench.read_tree(instance, f"{target}/{parent}".rstrip("/"))
        stream = self._context.__enter__()
        # Closed with this object.
        self._archive = tarfile.open(  # noqa: SIM115
            fileobj=stream, mode="r|", errors="surrogateescape"
        )
        for member in self._archive:
            found = self._archive.extractfile(member) if member.isreg() else None
            if found is not None and member.name.removeprefix("./") == name:
                self._source = found
                return
        self.close()
        raise FileVanishedError(f"{file.path!r} went away")

    def readable(self) -> bool:
        """Say that it can be read from."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        return self._source.read(size)

    def close(self) -> None:
        """Let go of the engine's stream."""
        if not self.closed:
            self._archive.close()
            self._context.__exit__(None, None, None)
        super().close()
