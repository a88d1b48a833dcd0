"""Incremental trees: unchanged files, the packs that contain them, and worn-out packs.

A tree's artifact has an index (one JSON line for each entry) and names the packs that contain
the content. A pack is a plain tar. An unchanged file stays in the pack it was first stored
in; its entry names the pack and the position in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import ArtifactError

PACK_BYTES = 256 << 20
"""Plain bytes after which a pack is closed: large enough for tape and S3, small enough to be
rewritten if half of it is garbage."""

WORN_OUT = 0.5
"""A pack is retired if less than this share of it is still referenced: its live files are
stored again, so that its space can be freed."""

INDEX = "index.jsonl"
LISTS = "lists.tar"
FOLDERS = "folders.tar"
ODD_NAMES = ".odd-names"
"""Folder inside packs for objects whose key can't be a path."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry of a tree, and the place of its content.

    Args:
        sha256: SHA-256 of the content; empty for entries without content (folders, links).
        pack: name of the pack that contains the content, without its suffixes.
        offset: byte of the pack's plain tar at which the content starts.
        member: the name inside the pack, if it isn't the path.
    """

    file: TreeFile
    sha256: str = ""
    pack: str = ""
    offset: int = 0
    member: str = ""

    @property
    def member_name(self) -> str:
        """The name inside the pack."""
        return self.member or self.file.path

    @property
    def has_content(self) -> bool:
        """Whether the entry has content in a pack."""
        return bool(self.pack)

    def to_line(self) -> bytes:
        """Return the entry as a line of the index."""
        file = self.file
        found: dict[str, object] = {"path": file.path, "kind": file.kind}
        for name in ("size", "mode", "uid", "gid", "mtime_ns"):
            found[name] = getattr(file, name)
        for name in ("target", "version"):
            if value := getattr(file, name):
                found[name] = value
        if file.attributes:
            found["attributes"] = dict(file.attributes)
        if file.data is not None:
            found["data"] = [list(part) for part in file.data]
        if self.pack:
            found |= {"sha256": self.sha256, "pack": self.pack, "offset": self.offset}
            if self.member:
                found["member"] = self.member
        # Plain ASCII: names that aren't UTF-8 (lone surrogates) are kept as \udcxx.
        return json.dumps(found, separators=(",", ":")).encode("ascii") + b"\n"


def parse_line(line: bytes) -> IndexEntry:
    """Parse a line of an index.

    Raises:
        ArtifactError: it isn't a line of an index.
    """
    try:
        found = json.loads(line)
        return IndexEntry(
            TreeFile(
                path=_text(found["path"]),
                kind=_text(found["kind"]),
                size=int(found["size"]),
                mode=int(found["mode"]),
                uid=int(found["uid"]),
                gid=int(found["gid"]),
                mtime_ns=int(found["mtime_ns"]),
                target=_text(found.get("target", "")),
                version=_text(found.get("version", "")),
                attributes=found.get("attributes", {}),
                data=_ranges(found["data"], int(found["size"])) if "data" in found else None,
            ),
            sha256=_text(found.get("sha256", "")),
            pack=_text(found.get("pack", "")),
            offset=int(found.get("offset", 0)),
            member=_text(found.get("member", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            "the index of a backed-up tree can't be read",
            why=f"a line isn't an entry ({type(error).__name__})",
            remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
        ) from None


def unchanged(before: TreeFile, now: TreeFile) -> bool:
    """Return whether content stored for ``before`` can be used for ``now``."""
    return (
        before.kind == now.kind
        and before.size == now.size
        and before.mtime_ns == now.mtime_ns
        and before.version == now.version
        and before.mode == now.mode
        and before.uid == now.uid
        and before.gid == now.gid
        and before.attributes == now.attributes
        and before.data == now.data
    )


def worn_out_packs(
    index: Iterable[IndexEntry], plain_bytes: Mapping[str, int], *, gone: Iterable[str] = ()
) -> frozenset[str]:
    """Return the packs to retire.

    Args:
        index: the entries of the newest backup.
        plain_bytes: pack → its size.
        gone: packs that the tier no longer has; nothing in them can be referenced.
    """
    live = dict.fromkeys(plain_bytes, 0)
    for entry in index:
        if entry.pack in live:
            # Add header and padding, so that a new pack of small files doesn't look worn out.
            live[entry.pack] += 1536 + (entry.file.stored_size + 511) // 512 * 512
    worn = {name for name, size in plain_bytes.items() if size and live[name] / size < WORN_OUT}
    return frozenset(worn | set(gone))


def pack_order(previous: Sequence[str], used: Iterable[str], new: Sequence[str]) -> list[str]:
    """Return packs in the order in which they are unpacked, oldest first.

    The order is inherited, not taken from names or times, so that a clock that was set back
    can't make an old version of a file overwrite a new one.
    """
    wanted = set(used)
    return [name for name in previous if name in wanted] + [name for name in new if name in wanted]


def is_path(name: str) -> bool:
    """Return whether ``name`` can be a relative path on any common file system.

    Objects may have names such as ``../x``, ``a//b`` or ``folder/``, or names of 1,024 bytes.
    """
    try:
        length = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return False  # A surrogate that does not represent a byte.
    parts = name.split("/")
    return (
        all(part not in ("", ".", "..") for part in parts)
        and "\0" not in name
        and parts[0] != ODD_NAMES
        and all(len(part.encode("utf-8", "surrogateescape")) <= 255 for part in parts)
        and length < 4096
    )


def _ranges(found: Sequence[Sequence[int]], size: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of a sparse file. Raise ``ValueError`` for impossible ranges."""
    ranges = tuple((int(offset), int(length)) for offset, length in found)
    end = 0
    for offset, length in ranges:
        if offset < end or length <= 0 or offset + length > size:
            raise ValueError
        end = offset + length
    return ranges


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
