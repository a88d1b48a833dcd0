"""Restore volumes: write the new content next to the old, compare it, then replace the old."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mmstack_ops.adapters.stores.backup_type import OpenArtifact, Workbench
from mmstack_ops.adapters.stores.volumes.folder import (
    VolumeFolder,
    attributes_of,
    dress,
    protection_of,
)
from mmstack_ops.adapters.stores.volumes.roots import Judge, Root
from mmstack_ops.adapters.stores.volumes.swap import (
    Place,
    UnfinishedSwapError,
    dress_folders,
    record_of,
    remove_all,
    swap,
)
from mmstack_ops.adapters.stores.volumes.walk import described, digest_of, walk
from mmstack_ops.artifacts.encryption import NoKeyError
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import (
    ArtifactError,
    CancelledError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)

_BLOCK = 1 << 20
_PAGE = 4096
_RESERVE = 16 << 20
_SHOWN = 5


def refill(
    bench: Workbench, roots: Sequence[Root], artifact: OpenArtifact, *, left_alone: Judge
) -> None:
    """Replace the content of volumes with an artifact's. Nothing may use them meanwhile.

    The new content is written to a folder of the volume and compared. Then the old content is
    moved out and the new content in. If there isn't room for both, the old one is deleted first.

    Args:
        left_alone: returns whether a path stays unchanged: neither deleted nor written.

    Raises:
        UntouchedError: the artifact doesn't fit, or the file system refused something; the content
            of the volumes is unchanged.
        PartialRestoreError: all was restored except attributes that can't be set here.
        RestoreError: it failed after the old content was deleted, or ended half-way.
        CancelledError: ``bench.cancel`` was set.
    """
    wanted = _Wanted.of(artifact, left_alone)
    _raise_if_misfit({root.name for root in roots}, wanted)
    failure: BaseException | None = None
    with _told("replace the content of the volumes"), ExitStack() as stack:
        places: dict[str, Place] = {}
        for root in roots:
            folder = stack.enter_context(root.open(make=True))
            staging = f".mmstack-restore-{secrets.token_hex(4)}"
            places[root.name] = Place(root.volume, root.below, staging, folder)
        used = _look_at(places, wanted, left_alone)
        beside = _is_room(places, wanted, used)
        _prepare(places, wanted)
        all_places = list(places.values())
        with bench.journal(*record_of(all_places, "fill", beside=beside)):
            try:
                if beside:
                    _make_staging(all_places)
                else:
                    _delete_first(bench, all_places)
                _fill(bench, places, wanted, artifact)
                _compare(places, wanted)
                os.sync()
                swap(bench, all_places, beside=beside)
            except UnfinishedSwapError:
                raise
            except BaseException as error:
                failure = error
            for place in all_places if failure is not None else ():
                if place.folder.exists(place.old) and place.folder.entries(place.old):
                    raise UnfinishedSwapError(
                        f"bringing the old content of volume {place.volume} back was interrupted",
                        why=f"what is missing in the volume stands in its folder {place.staging}",
                        remedy="the next backup or restore of the service brings it back",
                    ) from failure
                if place.folder.exists(place.staging):
                    place.folder.remove(place.staging)
                # Entries were created and deleted in the volume's own folder.
                dress_folders(place.folder, place.before)
        if failure is not None:
            raise _as_untouched(failure) if beside else failure
    if wanted.refused:
        raise PartialRestoreError(
            f"{len(wanted.refused)} files came back without some of their attributes",
            refused=wanted.refused,
            remedy="use a file system that has them; attributes `trusted.*` need root on the host",
        )


def _make_staging(places: Sequence[Place]) -> None:
    for place in places:
        place.folder.make_folder(place.staging)
        place.folder.make_folder(place.new)
        place.folder.make_folder(place.old)


def _delete_first(bench: Workbench, places: Sequence[Place]) -> None:
    """Delete the old content, and only then create the folders for the new content."""
    bench.tell(
        "there isn't room for the old and the new content of the volumes side by side: the old"
        " one is deleted first"
    )
    failure: BaseException | None = None
    with bench.journal(*record_of(places, "delete", beside=False)):
        try:
            for place in places:
                remove_all(place)
            _make_staging(places)
        except BaseException as error:
            # The record is only for a kill.
            failure = error
    if failure is not None:
        raise failure


@dataclass
class _Wanted:
    """The intended content of the volumes: that of the artifact, without what is left alone."""

    files: dict[str, TreeFile] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    """Path of a file that is left alone → the hard link that gets its content."""
    digests: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Path → which of its attributes can't be set here, and why."""

    @classmethod
    def of(cls, artifact: OpenArtifact, left_alone: Judge) -> _Wanted:
        wanted = cls()
        alone: dict[str, TreeFile] = {}
        for file in artifact.files():
            (alone if left_alone(file.path) else wanted.files)[file.path] = file
        for file in list(wanted.files.values()):
            if file.kind != "hardlink" or file.target not in alone:
                continue
            first = wanted.instead.setdefault(file.target, file.path)
            wanted.files[file.path] = (
                replace(alone[file.target], path=first)
                if first == file.path
                else replace(file, target=first)
            )
        return wanted

    def refuse(self, file: TreeFile, attributes: Mapping[str, str]) -> None:
        """Note attributes that can't be set: the entry is restored without them."""
        if attributes:
            kept = {k: value for k, value in file.attributes.items() if k not in attributes}
            self.files[file.path] = replace(file, attributes=kept)
            shown = (f"{name} ({why})" for name, why in attributes.items())
            self.refused[file.path] = f"without its attribute {', '.join(shown)}"

    def named(self, path: str) -> TreeFile | None:
        """Return the file to create for an entry of the artifact; None for an entry left alone."""
        return self.files.get(self.instead.get(path, path))


def _as_untouched(failure: BaseException) -> BaseException:
    """Return a failure as an error after which nothing has changed."""
    if isinstance(failure, OSError):
        where = f", at {failure.filename}" if failure.filename else ""
        return UntouchedError(
            "the volumes can't be filled",
            why=f"{failure.strerror or failure}{where}",
            remedy="check the free space and the permissions of the engine's folder of volumes",
        )
    if isinstance(failure, NoKeyError):
        return failure  # It says nothing about the backup.
    if isinstance(failure, RestoreError | ArtifactError):
        return UntouchedError(failure.what, why=failure.why, remedy=failure.remedy)
    return failure


def _raise_if_misfit(names: set[str], wanted: _Wanted) -> None:
    me = os.geteuid()
    for file in wanted.files.values():
        name = file.path.partition("/")[0]
        if name not in names:
            raise UntouchedError(
                f"the backup holds files of {name}, which is none of the service's volumes",
                remedy="restore it with the schema it was made with, or by hand; nothing was"
                " touched",
            )
        parts = file.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in file.path + file.target:
            raise UntouchedError(
                f"{file.path!r} is no path of a file",
                remedy="the backup can't be trusted: verify it; nothing was touched",
            )
        if me not in (0, file.uid):
            raise UntouchedError(
                f"{file.path!r} belongs to user {file.uid}, and this process isn't root",
                why="files must come back with their owners",
                remedy="run it as root; nothing was touched",
            )


def _look_at(places: Mapping[str, Place], wanted: _Wanted, left_alone: Judge) -> dict[int, int]:
    """Find out what of the old content is kept, and check that all else can be replaced.

    Returns:
        Device → bytes that become free when the old content is deleted.

    Raises:
        UntouchedError: something can't be replaced; nothing was touched.
    """
    used: dict[int, int] = {}
    problems: list[str] = []
    for name, place in places.items():
        device = place.folder.stat("").st_dev
        kept: set[str] = set()
        if os.statvfs(place.folder.descriptor()).f_flag & os.ST_RDONLY:
            problems.append(f"volume {name} is mounted read-only")
        pending = [""]
        while pending:
            here = pending.pop()
            if flags := protection_of(place.folder.descriptor(here)):
                problems.append(f"{name}/{here} is {flags}".replace("/ is", " is"))
            for entry, seen in place.folder.entries(here):
                inside = f"{here}/{entry}" if here else entry
                if left_alone(f"{name}/{inside}"):
                    kept.add(inside)
                    continue
                if seen.st_dev != device:
                    problems.append(f"another file system is mounted at {name}/{inside}")
                elif stat.S_ISDIR(seen.st_mode):
                    pending.append(inside)
                else:
                    used[device] = used.get(device, 0) + seen.st_blocks * 512
                    if flags := _file_protection(place.folder, inside, seen):
                        problems.append(f"{name}/{inside} is {flags}")
        place.kept = kept
        _keep_folders_of(name, place, wanted, problems)
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UntouchedError(
            "the content of the volumes can't be replaced",
            why="; ".join(problems[:_SHOWN]) + more,
            remedy="take the flags off (chattr -ia), unmount what is mounted, or name it in"
            " `backup.exclude`; nothing was touched",
        )
    return used


def _file_protection(folder: VolumeFolder, inside: str, seen: os.stat_result) -> str:
    if not stat.S_ISREG(seen.st_mode):
        return ""
    descriptor = folder.read(inside)
    try:
        return protection_of(descriptor)
    finally:
        os.close(descriptor)


def _keep_folders_of(name: str, place: Place, wanted: _Wanted, problems: list[str]) -> None:
    """Note which folders are kept because something in them is, the volume's own first."""
    inner = {""}
    for path in place.kept:
        while path := path.rpartition("/")[0]:
            inner.add(path)
    for inside in sorted(inner):
        path = f"{name}/{inside}" if inside else name
        seen = place.folder.stat(inside)
        place.before[inside] = TreeFile(
            path=inside,
            kind="dir",
            mode=stat.S_IMODE(seen.st_mode),
            uid=seen.st_uid,
            gid=seen.st_gid,
            mtime_ns=seen.st_mtime_ns,
            attributes=attributes_of(place.folder.descriptor(inside)),
        )
        new = wanted.files.get(path)
        if new is not None and new.kind != "dir":
            problems.append(f"{path} is a folder with something in it that stays")
        place.after[inside] = replace(new, path=inside) if new else place.before[inside]


def _is_room(places: Mapping[str, Place], wanted: _Wanted, used: Mapping[int, int]) -> bool:
    """Return whether the new content fits next to the old.

    Raises:
        UntouchedError: it doesn't fit in place of the old either; nothing was touched.
    """
    bytes_needed: dict[int, int] = {}
    files_needed: dict[int, int] = {}
    device_of = {name: place.folder.stat("").st_dev for name, place in places.items()}
    for file in wanted.files.values():
        device = device_of[file.path.partition("/")[0]]
        pages = 1 + -(-file.stored_size // _PAGE) if file.kind == "file" else 1
        bytes_needed[device] = bytes_needed.get(device, 0) + pages * _PAGE
        files_needed[device] = files_needed.get(device, 0) + (file.kind != "hardlink")
    beside = True
    for name, place in places.items():
        device = device_of[name]
        state = os.statvfs(place.folder.descriptor())
        free = (state.f_bfree if os.geteuid() == 0 else state.f_bavail) * state.f_frsize
        needed = bytes_needed.get(device, 0) + _RESERVE
        if needed > free + used.get(device, 0):
            raise UntouchedError(
                f"there isn't room for the backup in volume {name}",
                why=f"it needs {needed} bytes; {free} are free, and what the volumes hold takes"
                f" {used.get(device, 0)}",
                remedy="make room on the engine's disk; nothing was touched",
            )
        # A file system that reports 0 files has no limit on them.
        enough_files = not state.f_files or state.f_ffree > files_needed.get(device, 0)
        beside = beside and needed <= free and enough_files
    return beside


def _prepare(places: Mapping[str, Place], wanted: _Wanted) -> None:
    """Make sure that every entry has a parent folder."""
    for file in list(wanted.files.values()):
        above = file.path.rpartition("/")[0]
        while above and above not in wanted.files and above not in places:
            wanted.files[above] = TreeFile(above, "dir", mode=0o700)
            above = above.rpartition("/")[0]


def _fill(
    bench: Workbench, places: Mapping[str, Place], wanted: _Wanted, artifact: OpenArtifact
) -> None:
    """Write the new content to the ``new`` folder of the places."""

    def at(path: str) -> tuple[VolumeFolder, str]:
        name, _, inside = path.partition("/")
        return places[name].folder, f"{places[name].new}/{inside}".rstrip("/")

    ordered = sorted(wanted.files.values(), key=lambda file: file.path)
    for file in ordered:
        folder, place = at(file.path)
        if file.kind == "dir" and file.path not in places:
            folder.make_folder(place)
    for file in ordered:
        folder, place = at(file.path)
        if file.kind in ("symlink", "fifo"):
            wanted.refuse(file, folder.make_special(place, file))
    for found, content in artifact.contents(lambda one: wanted.named(one.path) is not None):
        file_or_none = wanted.named(found.path)
        if content is None or file_or_none is None:
            continue
        if bench.cancel.is_set():
            raise CancelledError("the restore was cancelled")
        folder, place = at(file_or_none.path)
        digest, refused = _write(folder, place, file_or_none, content)
        wanted.digests[file_or_none.path] = digest
        wanted.refuse(file_or_none, refused)
    for file in ordered:
        if file.kind == "hardlink":
            folder, place = at(file.path)
            folder.link(at(file.target)[1], place)
    # Last, since new entries change the time of their folder; the deepest first.
    for file in reversed(ordered):
        if file.kind == "dir":
            folder, place = at(file.path)
            wanted.refuse(file, dress(folder.descriptor(place), file))


def _write(
    folder: VolumeFolder, place: str, file: TreeFile, content: BinaryIO
) -> tuple[str, dict[str, str]]:
    """Write a file; return the SHA-256 of the written content, and the attributes refused."""
    digest = hashlib.sha256()
    with io.FileIO(folder.create(place), "wb") as target:
        for offset, length in ((0, file.size),) if file.data is None else file.data:
            target.seek(offset)
            while length and (block := content.read(min(_BLOCK, length))):
                digest.update(block)
                length -= len(block)
                view = memoryview(block)
                while view:
                    view = view[target.write(view) :]
        content.read(1)  # Reaching the end checks the hash.
        if file.data is not None:
            target.truncate(file.size)
        refused = dress(target.fileno(), file)
    return digest.hexdigest(), refused


def _compare(places: Mapping[str, Place], wanted: _Wanted) -> None:
    """Read what was written and compare it with what should be there.

    Raises:
        RestoreError: they differ.
    """
    differences: list[str] = []
    missing = dict(wanted.files)
    linked: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name, place in places.items():
        for file in walk(
            place.folder,
            name,
            at=place.new,
            passes_over=lambda _: False,
            report=lambda path, why: differences.append(f"{path!r}: {why}"),
        ):
            expected = missing.pop(file.path, None)
            if expected is None:
                if file.path != name:
                    differences.append(f"{file.path!r} is one too many")
                continue
            if file.kind == "hardlink":
                linked[file.path] = file.target
                text = texts[file.target]
            else:
                inside = f"{place.new}/{file.path.partition('/')[2]}"
                text = described(file, digest_of(place.folder, inside, file))
                texts[file.path] = text
            content = wanted.files[expected.target] if expected.kind == "hardlink" else expected
            if text != described(content, wanted.digests.get(content.path, "")):
                differences.append(f"{file.path!r} is {text}")
    differences += [f"{path!r} is missing" for path in missing]
    links = {path: file.target for path, file in wanted.files.items() if file.kind == "hardlink"}
    if _groups(links) != _groups(linked):
        differences.append("the hard links aren't the same")
    if differences:
        raise RestoreError(
            "what was written to the volumes isn't what the backup holds",
            why="; ".join(differences[:_SHOWN]),
            remedy="check the disk, and whether its file system keeps owners, ACLs and extended"
            " attributes",
        )


def _groups(links: Mapping[str, str]) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for path, target in links.items():
        groups.setdefault(target, {target}).add(path)
    return {frozenset(group) for group in groups.values()}


@contextmanager
def _told(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RestoreError(
            f"can't {doing}: {error.strerror or error}",
            why=f"at {error.filename}" if error.filename else "",
            remedy="check the free space and the permissions of the engine's folder of volumes",
        ) from None
