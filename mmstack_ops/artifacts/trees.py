"""Store trees incrementally: unchanged files are referenced, other files go into new packs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mmstack_ops.artifacts.packs import END_OF_TAR, PackWriter, header
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.backups.pack_entry_names import MemberNames
from mmstack_ops.domain.backups.tree import (
    FOLDERS,
    INDEX,
    LISTS,
    IndexEntry,
    is_path,
    pack_order,
    unchanged,
    worn_out_packs,
)
from mmstack_ops.domain.errors import BackupError, FileGoneError, FileVanishedError

_PATIENCE = (0.1, 0.4, 1.0)
"""Seconds to wait before each retry of a file that changed while it was read."""
_CONTENT = ("file", "object")

PayloadOpener = Callable[[str, str], AbstractContextManager[BinaryIO]]


@dataclass
class Before:
    """The entries and packs of the previous backup of the tree."""

    entries: dict[str, IndexEntry] = field(default_factory=dict)
    packs: dict[str, Payload] = field(default_factory=dict)
    """In the order of the previous manifest."""
    gone: frozenset[str] = frozenset()
    """Packs of the previous manifest that are missing on the tier or have another size."""


@dataclass(frozen=True)
class StoredTree:
    """The result of storing a tree.

    Args:
        packs: every pack the tree needs, oldest first.
        unread: files that exist but couldn't be read completely: path → reason. Does not include
            files that were deleted in the meantime.
    """

    packs: tuple[Payload, ...]
    entries: Sequence[IndexEntry]
    stored: int
    reused: int
    unread: Mapping[str, str]


def store_tree(
    files: Iterable[TreeFile],
    open_file: Callable[[TreeFile], BinaryIO],
    *,
    before: Before,
    packs: PackWriter,
    new_packs: list[Payload],
    open_payload: PayloadOpener,
    tell: Callable[[str], None],
) -> StoredTree:
    """Store a tree: new and changed files in packs, then its index and the lists for use by hand.

    Args:
        new_packs: the list to which ``packs`` adds finished packs.

    Raises:
        BackupError: there are files, and none of them can be read.
        TierError: the tier failed.
    """
    plain = {name: pack.plain_bytes for name, pack in before.packs.items()}
    given_up = worn_out_packs(before.entries.values(), plain, gone=before.gone)
    names = MemberNames()
    stored: dict[str, IndexEntry] = {}
    unread: dict[str, str] = {}
    reused = 0

    def keep(file: TreeFile) -> None:
        nonlocal reused
        if file.kind not in _CONTENT:
            stored[file.path] = IndexEntry(file)
            return
        member = names.choose(file)
        old = before.entries.get(file.path)
        if (
            old is not None
            and old.pack not in given_up
            and old.member == member
            and unchanged(old.file, file)
        ):
            stored[file.path] = old
            reused += 1
            return
        try:
            stored[file.path] = _store(file, open_file, packs, member)
        except FileGoneError as error:
            tell(f"left out: {error.what}")
        except FileVanishedError as error:
            unread[file.path] = error.why or error.what
            tell(f"not covered: {error.what} ({error.why})")

    with packs:
        links: list[TreeFile] = []
        for file in files:
            if file.kind == "hardlink":
                links.append(file)
            else:
                keep(file)
        content: dict[str, str] = {}  # Deleted link target → path with its content.
        for link in links:
            target = content.get(link.target, link.target)
            if target in stored:
                stored[link.path] = IndexEntry(replace(link, target=target))
            elif target in unread:
                unread[link.path] = unread[target]
            else:
                keep(replace(link, kind="file", target=""))
                content[link.target] = link.path
    entries = list(stored.values())
    if unread and not any(entry.has_content for entry in entries):
        path, why = next(iter(unread.items()))
        raise BackupError(
            f"none of {len(unread)} files can be read, among them {path!r}",
            why=why,
            remedy="see to its permissions and its disk; nothing was stored",
        )
    entries.sort(key=lambda entry: entry.file.path)
    known = before.packs | {pack.name: pack for pack in new_packs}
    order = pack_order(
        list(before.packs),
        {entry.pack for entry in entries if entry.has_content},
        [pack.name for pack in new_packs],
    )
    _write_folders(entries, open_payload)
    _write_lists(entries, order, open_payload)
    with open_payload(INDEX, "index") as index:
        for entry in entries:
            index.write(entry.to_line())
    with_content = sum(entry.has_content for entry in entries)
    return StoredTree(
        packs=tuple(known[name] for name in order),
        entries=entries,
        stored=with_content - reused,
        reused=reused,
        unread=unread,
    )


def _store(
    file: TreeFile, open_file: Callable[[TreeFile], BinaryIO], packs: PackWriter, member: str
) -> IndexEntry:
    attempt = 0
    while True:
        try:
            source = open_file(file)
        except FileNotFoundError:
            raise FileGoneError(f"{file.path!r} was deleted meanwhile") from None
        except OSError as error:
            raise _unreadable(file, error) from None
        try:
            with closing(source):
                return packs.add(file, source, member=member)
        except FileVanishedError:
            if attempt == len(_PATIENCE):
                raise
            time.sleep(_PATIENCE[attempt])
            attempt += 1
        except OSError as error:
            raise _unreadable(file, error) from None


def _unreadable(file: TreeFile, error: OSError) -> FileVanishedError:
    return FileVanishedError(f"{file.path!r} can't be read", why=error.strerror or str(error))


def _write_folders(entries: list[IndexEntry], open_payload: PayloadOpener) -> None:
    """Write entries without content as a tar. By hand, it is unpacked last, over the files."""
    members = {entry.file.path: entry.member_name for entry in entries}
    with open_payload(FOLDERS, "files") as target:
        for entry in entries:
            if entry.has_content or not is_path(entry.file.path):
                continue
            file = replace(entry.file, size=0, data=None)
            if file.kind == "hardlink":
                file = replace(file, target=members[file.target])
            target.write(header(file, file.path))
        target.write(END_OF_TAR)


def _write_lists(entries: list[IndexEntry], order: list[str], open_payload: PayloadOpener) -> None:
    """Write a tar with the order of the packs and, for each pack, the names to unpack."""
    lists: dict[str, list[IndexEntry]] = {name: [] for name in order}
    for entry in entries:
        if entry.has_content:
            lists[entry.pack].append(entry)
    with open_payload(LISTS, "files") as target:
        _add(target, "packs", ("".join(f"{name}\n" for name in order)).encode())
        for name, wanted in lists.items():
            # In the order of the pack: GNU tar then checks each name once (--same-order).
            wanted.sort(key=lambda entry: entry.offset)
            found = (entry.member_name.encode("utf-8", "surrogateescape") for entry in wanted)
            _add(target, f"{name}.list", b"".join(name + b"\0" for name in found))
        odd = [
            json.dumps({"member": entry.member, "path": entry.file.path})
            for entry in entries
            if entry.member
        ]
        if odd:
            _add(target, "odd-names.jsonl", "".join(f"{line}\n" for line in odd).encode())
        target.write(END_OF_TAR)


def _add(target: BinaryIO, name: str, content: bytes) -> None:
    target.write(header(TreeFile(name, "file", size=len(content)), name))
    target.write(content)
    target.write(bytes(-len(content) % 512))
