"""Swap the old content of volumes for new content by renames, and recover from a killed swap.

The new content is complete in a folder of the volume before the old is touched. First the old
content is moved out into the same folder, then the new content is moved in. A journal records
which step was in progress: a killed move-out is undone, a killed move-in is finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from mmstack_ops.adapters.stores.backup_type import Workbench
from mmstack_ops.adapters.stores.volumes.folder import VolumeFolder, attributes_of, dress
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.tree import IndexEntry, parse_line
from mmstack_ops.domain.errors import RestoreError

_KEY = "volume-restore/"
_MOST_IN_JOURNAL = 200_000


class UnfinishedSwapError(RestoreError):
    """A swap ended half-way: both contents still exist, and the next run finishes or undoes it."""


@dataclass
class Place:
    """One volume whose content is replaced.

    Args:
        kept: paths inside the volume that stay where they are, with everything below.
        before: the old properties of the folders that stay because something in them does,
            including the volume's own folder (the empty path).
        after: the new properties of these folders.
    """

    volume: str
    """Its name on the engine."""
    below: str
    staging: str
    folder: VolumeFolder
    kept: Collection[str] = ()
    before: dict[str, TreeFile] = field(default_factory=dict)
    after: dict[str, TreeFile] = field(default_factory=dict)

    @property
    def new(self) -> str:
        """Where the new content is until it is moved in."""
        return f"{self.staging}/new"

    @property
    def old(self) -> str:
        """Where the old content is once it was moved out."""
        return f"{self.staging}/old"


def record_of(places: Sequence[Place], phase: str, *, beside: bool) -> tuple[str, dict[str, str]]:
    """Return the key and the content of a journal record.

    Args:
        phase: ``delete``, ``fill``, ``out`` or ``in``.
        beside: keep the old content until the new is in place; otherwise it is deleted first.
    """
    key = _KEY + "+".join(place.volume for place in places)
    found = [
        {
            "volume": place.volume,
            "below": place.below,
            "staging": place.staging,
            "before": _lines(place.before),
            "after": _lines(place.after),
        }
        for place in places
    ]
    return key, {
        "key": key,
        "phase": phase,
        "beside": "yes" if beside else "no",
        "places": json.dumps(found),
    }


def swap(bench: Workbench, places: Sequence[Place], *, beside: bool) -> None:
    """Replace the old content with the new, or leave everything unchanged.

    Args:
        beside: as for ``record_of``.

    Raises:
        OSError: the file system refused something; the old content is back in place.
        UnfinishedSwapError: the old content can't be moved back either, or the new content is in
            place and the rest of the old can't be deleted.
    """
    failure: BaseException | None = None
    moved = False
    try:
        with bench.journal(*record_of(places, "out", beside=beside)):
            try:
                for place in places:
                    move_out(place, place.old)
                with bench.journal(*record_of(places, "in", beside=beside)):
                    failure = _move_all_in(places)
                    moved = failure is None
                    if moved:
                        _delete_old(places)
            except BaseException as error:
                # Once the new content is in, part of the old may be deleted: no way back.
                if moved or isinstance(error, UnfinishedSwapError):
                    raise
                failure = error
                _take_back(places, error)
    except UnfinishedSwapError:
        raise
    except BaseException as error:
        if not moved:
            raise
        names = ", ".join(place.volume for place in places)
        raise UnfinishedSwapError(
            f"the restore of volume {names} was interrupted when the backup was in place",
            why=str(error) or type(error).__name__,
            remedy="the next backup or restore of the service deletes what is left of the old"
            " content",
        ) from error
    if failure is not None:
        raise failure


def _move_all_in(places: Sequence[Place]) -> BaseException | None:
    """Move the new content in; if that fails, move the old back and return the error."""
    try:
        for place in places:
            _move_in(place.folder, place.new, spare=place.old)
        for place in places:
            dress_folders(place.folder, place.after)
    except BaseException as error:
        for place in places:
            with _explained(place, error):
                move_out(place, place.new)
        _take_back(places, error)
        return error
    return None


def _take_back(places: Sequence[Place], error: BaseException) -> None:
    for place in places:
        with _explained(place, error):
            _move_in(place.folder, place.old, spare=place.new)
            dress_folders(place.folder, place.before)


def _delete_old(places: Sequence[Place]) -> None:
    for place in places:
        try:
            place.folder.remove(place.staging)
            dress_folders(place.folder, place.after)
        except OSError as error:
            raise UnfinishedSwapError(
                f"volume {place.volume} holds the backup, but its old content can't be deleted",
                why=f"{error.strerror or error}, in its folder {place.staging}",
                remedy="correct that; the next backup or restore of the service tries again",
            ) from None


def move_out(place: Place, to: str) -> None:
    """Move everything except what is kept out of a volume's folder. Safe to repeat.

    Raises:
        OSError: the operating system refused something.
    """
    folder = place.folder
    pending = [""]
    while pending:
        here = pending.pop()
        for name, _ in folder.entries(here):
            inside = f"{here}/{name}" if here else name
            if inside == place.staging or inside in place.kept:
                continue
            target = f"{to}/{inside}"
            if inside not in place.before:
                folder.rename(inside, target)
                continue
            if not folder.exists(target):
                folder.make_folder(target)
            pending.append(inside)


def remove_all(place: Place) -> None:
    """Delete everything except what is kept.

    Raises:
        OSError: the operating system refused something.
    """
    pending = [""]
    while pending:
        here = pending.pop()
        for name, _ in place.folder.entries(here):
            inside = f"{here}/{name}" if here else name
            if inside == place.staging or inside in place.kept:
                continue
            if inside in place.before:
                pending.append(inside)
            else:
                place.folder.remove(inside)


def dress_folders(folder: VolumeFolder, wanted: Mapping[str, TreeFile]) -> None:
    """Give folders the owner, mode, attributes and time in ``wanted``, the deepest first.

    Raises:
        OSError: the operating system refused something.
    """
    for inside in sorted(wanted, reverse=True):
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor = folder.descriptor(inside)
            for name in attributes_of(descriptor).keys() - wanted[inside].attributes.keys():
                os.removexattr(descriptor, name)
            dress(descriptor, wanted[inside])


def recover(bench: Workbench, *, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Recover from killed swaps: put the old content back, or complete the new content.

    Args:
        only: names of the engine's volumes to recover; None for all.

    Returns:
        Descriptions of what was done.

    Raises:
        RestoreError: that failed; both contents still exist, and the next run tries again.
    """
    found: dict[str, list[Mapping[str, str]]] = {}
    for record in bench.abandoned(_KEY):
        found.setdefault(record["key"], []).append(record)
    done: list[str] = []
    for key, records in found.items():
        places = json.loads(records[0]["places"])
        if only is not None and not any(place["volume"] in only for place in places):
            continue
        phases = {record["phase"] for record in records}
        # Records of older releases don't say it.
        beside = records[0].get("beside") != "no"
        for place in places:
            done += _make_good(bench, place, phases, beside=beside)
        for _ in bench.leftovers(key):
            pass
    return tuple(done)


def _make_good(
    bench: Workbench, record: Mapping[str, str], phases: Collection[str], *, beside: bool
) -> tuple[str, ...]:
    from mmstack_ops.adapters.engine.failures import MissingObjectError

    volume, staging = record["volume"], record["staging"]
    try:
        mountpoint = bench.volume_path(volume)
    except MissingObjectError:
        return ()  # It was deleted meanwhile, as copies for drills are.
    if mountpoint is None:
        raise RestoreError(
            f"a restore that was killed left the volume {volume} half replaced",
            why="this process can't read the engine's folder of volumes",
            remedy="run it where the restore ran",
        )
    try:
        with VolumeFolder(mountpoint, record["below"]) as folder:
            # Two runs may find the same record at once; the second then finds nothing to do.
            fcntl.flock(folder.descriptor(), fcntl.LOCK_EX)
            if not folder.exists(staging):
                return (_lost(volume, "holds a part of it at most"),) if "delete" in phases else ()
            new, old = f"{staging}/new", f"{staging}/old"
            source, spare = (new, old) if "in" in phases else (old, new)
            if "out" in phases and folder.exists(source):
                _move_in(folder, source, spare=spare)
            folder.remove(staging)
            dress_folders(folder, _folders(record["after" if "in" in phases else "before"]))
    except OSError as error:
        raise RestoreError(
            f"the volume {volume}, which a killed restore left half replaced, can't be repaired",
            why=f"{error.strerror or error}; what is missing in it stands in its folder {staging}",
            remedy="correct that and run it again",
        ) from None
    if not beside and "in" not in phases:
        return (_lost(volume, "is empty"),)
    state = "holds all of the backup" if "in" in phases else "holds what it held before"
    return (f"a restore of volume {volume} was killed: the volume {state}",)


def _lost(volume: str, state: str) -> str:
    return (
        f"a restore of volume {volume} was killed when the old content was deleted for lack of"
        f" room: the volume {state}; what it held is in the safety backup that `mmstack backup"
        " status` names: restore that"
    )


def _move_in(folder: VolumeFolder, source: str, *, spare: str) -> None:
    """Move all of ``source`` into the volume's folder. Safe to repeat.

    Folders that exist on both sides are merged. For anything else ``source`` wins, and what was in
    its place is moved to ``spare``.
    """
    pending = [""]
    merged: list[str] = []
    while pending:
        here = pending.pop()
        for name, seen in folder.entries(f"{source}/{here}".rstrip("/")):
            inside = f"{here}/{name}" if here else name
            if folder.exists(inside):
                if stat.S_ISDIR(seen.st_mode) and stat.S_ISDIR(folder.stat(inside).st_mode):
                    pending.append(inside)
                    merged.append(f"{source}/{inside}")
                    continue
                folder.rename(inside, f"{spare}-{os.urandom(4).hex()}")
            folder.rename(f"{source}/{inside}", inside)
    for path in sorted(merged, reverse=True):
        folder.remove_empty(path)


def _lines(folders: Mapping[str, TreeFile]) -> str:
    """Return folders as text for the journal; only the volume's own if there are too many."""
    lines = [IndexEntry(file).to_line().decode() for file in folders.values()]
    text = "".join(lines)
    return text if len(text) < _MOST_IN_JOURNAL else "".join(lines[:1])


def _folders(text: str) -> dict[str, TreeFile]:
    files = [parse_line(line).file for line in text.encode().splitlines()]
    return {file.path: file for file in files}


@contextmanager
def _explained(place: Place, error: BaseException) -> Iterator[None]:
    try:
        yield
    except OSError as second:
        raise UnfinishedSwapError(
            f"the old content of volume {place.volume} can't be moved back",
            why=f"{second.strerror or second}, after: {error}; what is missing in the volume"
            f" stands in its folder {place.staging}",
            remedy="correct that; the next backup or restore of the service tries again",
        ) from None
