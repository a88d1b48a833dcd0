"""What is wrong with a pack: read as the tar it is for a restore by hand, held to the index."""

from __future__ import annotations

import hashlib
import stat
import tarfile
from collections.abc import Iterable
from typing import BinaryIO

from mmstack_ops.adapters.backups.pace import Pace
from mmstack_ops.adapters.backups.pipeline import BLOCK
from mmstack_ops.domain.backups.tree import IndexEntry


def wrong_in_pack(source: BinaryIO, entries: Iterable[IndexEntry], pace: Pace) -> str | None:
    """Read a pack to its end; return the first thing that is wrong, or None.

    Each content is hashed, and its tar header must say what the index says: somebody who
    restores by hand has nothing but the tar. Members that no entry names are dead weight.

    Args:
        entries: those of the index that stand in this pack.

    Raises:
        ArtifactError: the stored bytes themselves are damaged.
        CancelledError: the work was cancelled.
    """
    try:
        wrong = _walked(source, entries, pace)
    except tarfile.TarError as error:
        wrong = f"it isn't the tar it was written as ({error})"
    # The hash of the whole is checked at its end, and tells more than a tar that breaks off.
    while source.read(BLOCK):
        pace.check()
    return wrong


def _walked(source: BinaryIO, entries: Iterable[IndexEntry], pace: Pace) -> str | None:
    missing: dict[int, IndexEntry] = {}
    for entry in entries:
        other = missing.setdefault(entry.offset, entry)
        if other is not entry:
            return f"{entry.file.path!r} and {other.file.path!r} can't stand at one place"
    wrong: str | None = None
    with tarfile.open(
        fileobj=source, mode="r|", bufsize=BLOCK, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        while (member := tar.next()) is not None:
            pace.check()
            expected = missing.pop(member.offset_data, None)
            if expected is not None and wrong is None:
                wrong = _wrong_header(member, expected) or _wrong_content(tar, member, expected)
            # The archive keeps each header it has seen: 100,000 files are not to fill the memory.
            tar.members.clear()  # type: ignore[attr-defined]
    if wrong is None and missing:
        wrong = f"{min(missing.items())[1].file.path!r} isn't where the index says"
    return wrong


def _wrong_header(member: tarfile.TarInfo, entry: IndexEntry) -> str | None:
    file = entry.file
    said = (member.name, member.isreg(), member.size, member.mode, member.uid, member.gid)
    meant = (entry.member_name, True, file.size, stat.S_IMODE(file.mode), file.uid, file.gid)
    if said == meant:
        return None
    return f"the tar header of {file.path!r} isn't what the index says (it names {member.name!r})"


def _wrong_content(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: IndexEntry) -> str | None:
    content = tar.extractfile(member)
    digest = hashlib.sha256()
    while content is not None and (block := content.read(BLOCK)):
        digest.update(block)
    if digest.hexdigest() == entry.sha256:
        return None
    return f"{entry.file.path!r} isn't what the index says"
