"""A storage tier on tape: immutable files on a set of append-only volumes.

A file is complete when the filemark after its trailer is written. Data that a killed writer left
after the last complete file is overwritten by the next writer. Deleting appends a tombstone; space
is freed when a whole volume is recycled.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mmstack_ops.adapters.files import make_private_directory, write_atomically
from mmstack_ops.adapters.storage.keys import checked_key, checked_prefix
from mmstack_ops.adapters.storage.quota import Quota
from mmstack_ops.adapters.storage.tape.append import Appender, last_volume
from mmstack_ops.adapters.storage.tape.files import FileLibrary
from mmstack_ops.adapters.storage.tape.read import TapeReader
from mmstack_ops.adapters.storage.tape.scan import Scanner, read_catalogue
from mmstack_ops.adapters.storage.tape.volume import FileDrive, Volume
from mmstack_ops.adapters.storage.tape.volume_catalogue import Catalogue, dump, parse
from mmstack_ops.adapters.storage.tape.writer import TapeWriter
from mmstack_ops.domain.backups.tier import FileReader, Folder, StoredFile, Usage, by_folder
from mmstack_ops.domain.errors import (
    FileMissingError,
    ImmutableError,
    InputError,
    TierFullError,
    TierUnavailableError,
)
from mmstack_ops.domain.units import format_bytes

_log = logging.getLogger(__name__)
_SAVE_AFTER = 64
"""Number of files that may be missing from the host's copy, and are read from the volumes."""


@dataclass(frozen=True)
class VolumeStatus:
    """A volume of the set: the bytes of its files, and how many of the files aren't forgotten."""

    name: str
    sequence: int
    at_hand: bool
    stored: int
    live: int
    damage: tuple[str, ...]


class TapeTier:
    """A tier that stores files on tape. See ``Tier``.

    There is one writer at a time across all processes; a second one waits. Files of up to
    8 MiB are kept in memory until their ``with`` block ends, and wait only then.

    Args:
        cache: the file with the host's copy of the catalogue.
    """

    def __init__(self, name: str, library: FileLibrary, *, quota: int | None, cache: Path) -> None:
        self.name = name
        self._library = library
        self._cache = cache
        self._quota = Quota(name, quota, self._count)
        self._lock = threading.RLock()
        self._catalogue: Catalogue | None = None
        self._marks: dict[str, tuple[int, ...]] = {}
        self._saved = 0

    def check(self, *, writing: bool) -> None:
        """Raise unless the tape can be used. See ``Tier.check``."""
        self._library.check(writing=writing)
        volumes = self._refresh()
        if writing:
            volume, _ = last_volume(self._known(), volumes)
            if volume is not None and volume.protected:
                self._library.load(volume, writing=True).close()

    @contextmanager
    def create(self, key: str, *, expected_size: int | None = None) -> Iterator[TapeWriter]:
        """Write a file. See ``Tier.create``."""
        checked_key(key)
        self._library.check(writing=True)
        self.require_new(key)
        free = self._library.free()
        if expected_size is not None and free is not None and expected_size > free:
            raise TierFullError(
                f"tier {self.name} has no room for {format_bytes(expected_size)}",
                why=f"{format_bytes(free)} are free for new volumes",
                remedy="free space there, or recycle volumes whose files are all forgotten",
            )
        reservation = self._quota.reserve(expected_size)
        kept = 0
        try:
            with ExitStack() as stack:
                writer = TapeWriter(self, key, expected_size, reservation, stack)
                yield writer
                writer.finish()
                kept = writer.written
        finally:
            reservation.settle(kept)

    @contextmanager
    def read(self, key: str) -> Iterator[FileReader]:
        """Read a file; its hash is checked at its end. See ``Tier.read``."""
        checked_key(key)
        volumes = self._refresh()
        with self._lock:
            entry = self._known().live.get(key)
        if entry is None:
            raise FileMissingError(f"tier {self.name} holds no file {key}")
        reader = TapeReader(self.name, entry, lambda volume: self._load(volumes, volume))
        try:
            yield reader
        finally:
            reader.close()

    def size(self, key: str) -> int | None:
        """Return a file's size. See ``Tier.size``."""
        checked_key(key)
        self._refresh()
        with self._lock:
            entry = self._known().live.get(key)
        return None if entry is None else entry.size

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Yield files. See ``Tier.list``."""
        checked_prefix(prefix)
        self._refresh()
        with self._lock:
            entries = [e for e in self._known().live.values() if e.key.startswith(prefix)]
        for entry in entries:
            yield StoredFile(entry.key, entry.size)

    def folders(self, prefix: str = "") -> Iterator[Folder]:
        """Yield the files folder by folder, with their bytes. See ``Tier.folders``."""
        return by_folder(self.list(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        """Write a tombstone for each file; no space is freed. See ``Tier.delete``."""
        with ExitStack() as stack:
            appender: Appender | None = None
            for key in keys:
                if self.size(key) is None:
                    continue
                if appender is None:
                    appender = stack.enter_context(self.session())
                with self._lock:
                    entry = self._known().live.get(key)
                    if entry is not None:
                        appender.forget(key, entry.file)

    def usage(self) -> Usage:
        """Return the usage of the set: forgotten files use space until their volume is recycled."""
        self._library.check(writing=False)
        return Usage(self._quota.used(), self._quota.limit, self._library.free())

    def sweep(
        self,
        *,
        older_than: datetime,  # noqa: ARG002 - the lock shows which writers are active
        tell: Callable[[str], None],
    ) -> None:
        """Truncate what killed writers left. See ``Tier.sweep``.

        Args:
            older_than: not used: a writer without a lock is no longer active.
        """
        if not self._library.volumes() or self._library.busy():
            return
        with self.session(tell=tell):
            return

    def volumes(self) -> tuple[VolumeStatus, ...]:
        """Return the volumes of the set, in the order in which they were written."""
        at_hand = {volume.label.volume for volume in self._refresh() if volume.label}
        with self._lock:
            catalogue = self._known()
            made = []
            for known in catalogue.ordered():
                volume = known.label.volume
                parts = [
                    (segment.size, entry.file not in catalogue.dead)
                    for entry in catalogue.files.values()
                    for segment in entry.segments
                    if segment.volume == volume
                ]
                made.append(
                    VolumeStatus(
                        known.label.name,
                        known.label.sequence,
                        volume in at_hand,
                        sum(size for size, _ in parts),
                        sum(alive for _, alive in parts),
                        known.damage,
                    )
                )
        return tuple(made)

    def recycle(self, name: str) -> None:
        """Make a volume blank if all its files are forgotten. Never done automatically.

        Raises:
            InputError: the volume isn't available.
            ImmutableError: it holds files that aren't forgotten, or damage that may hide some.
        """
        with self.session() as appender:
            volumes = {v.label.name: v for v in self._library.volumes() if v.label is not None}
            volume = volumes.get(name)
            if volume is None or volume.label is None:
                raise InputError(
                    f"tier {self.name} has no volume {name} at hand",
                    why="at hand are: " + (", ".join(sorted(volumes)) or "none"),
                )
            with self._lock:
                catalogue = self._known()
                label = volume.label.volume
                held = catalogue.in_use(label)
                if held or catalogue.volumes[label].damage:
                    raise ImmutableError(
                        f"volume {name} can't be recycled",
                        why=f"it holds {len(held)} files that aren't forgotten"
                        if held
                        else "it is damaged, and may hold files that can't be seen",
                        remedy="let retention remove them first, or copy them to another tier",
                    )
                # Tombstones of files that are also on other volumes must be kept.
                carried = [
                    (entry.key, file)
                    for file, where in catalogue.dead.items()
                    if where == label and (entry := catalogue.files.get(file)) is not None
                    and any(segment.volume != label for segment in entry.segments)
                ]  # fmt: skip
                if appender.volume == label and carried:
                    appender.next_volume()
                for key, file in carried:
                    appender.forget(key, file)
                appender.close()
                self._library.erase(volume)
                catalogue.drop(label)
                self._save()

    @contextmanager
    def session(self, tell: Callable[[str], None] | None = None) -> Iterator[Appender]:
        """Be the only writer for a ``with`` block; first truncate what a killed writer left."""

        def say(text: str) -> None:
            _log.warning("tier %s: %s", self.name, text)
            if tell is not None:
                tell(text)

        with self._library.writing():
            volumes = self._refresh()
            with self._lock:
                appender = Appender(self._library, self._known, volumes, tell=say)
            try:
                yield appender
            finally:
                appender.close()
                with self._lock:
                    unsaved = abs(len(self._known().files) - self._saved)
                    if unsaved >= _SAVE_AFTER:
                        self._save()

    def require_new(self, key: str) -> None:
        """Raise ImmutableError if the key is taken.

        Raises:
            ImmutableError: a file has this key.
        """
        if self.size(key) is not None:
            raise ImmutableError(
                f"tier {self.name} already holds {key}",
                why="files on a tier are never replaced",
                remedy="this is a bug, or two backups had the same name: run it again",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the catalogue for a ``with`` block."""
        with self._lock:
            yield

    def _known(self) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = Catalogue()
        return self._catalogue

    def _count(self) -> int:
        self._refresh()
        with self._lock:
            return sum(entry.size for entry in self._known().files.values())

    def _load(self, volumes: Sequence[Volume], wanted: str) -> FileDrive:
        for volume in volumes:
            if volume.label is not None and volume.label.volume == wanted:
                return self._library.load(volume, writing=False)
        with self._lock:
            known = self._known().volumes.get(wanted)
        name = known.label.name if known else wanted
        raise TierUnavailableError(
            f"tier {self.name}: volume {name} is needed and not at hand",
            remedy=f"bring volume {name} back into the library, then run this again",
        )

    def _refresh(self) -> Sequence[Volume]:
        """Update the catalogue from the volumes; return the available volumes."""
        with self._lock:
            volumes = self._library.volumes()
            marks = {volume.slot: volume.mark for volume in volumes}
            if self._catalogue is not None and marks == self._marks:
                return volumes
            self._require_one_set(volumes)
            scanner = Scanner(self.name, lambda volume: self._library.load(volume, writing=False))
            catalogue = self._begin(scanner, volumes, marks)
            before = len(catalogue.files)
            scanner.scan(catalogue, volumes)
            self._prune(catalogue, volumes)
            self._catalogue, self._marks = catalogue, marks
            if len(catalogue.files) - before >= _SAVE_AFTER:
                self._save()
            return volumes

    def _begin(
        self, scanner: Scanner, volumes: Sequence[Volume], marks: dict[str, tuple[int, ...]]
    ) -> Catalogue:
        """Return the newest catalogue that doesn't contradict the volumes."""
        changed = [v for v in volumes if self._marks.get(v.slot) != marks[v.slot]]
        sets = {volume.label.set_id for volume in volumes if volume.label}
        if self._catalogue is not None:
            known = self._catalogue
            # Another process may have started the set since the library was found empty.
            known.set_id = known.set_id or next(iter(sets), "")
            if sets <= {known.set_id} and scanner.still_true(known, changed):
                return known
        else:
            for found in self._copies(volumes):
                if sets <= {found.set_id} and scanner.still_true(found, volumes):
                    self._saved = len(found.files)
                    return found
        self._saved = 0
        return Catalogue(set_id=next(iter(sets), ""))

    def _copies(self, volumes: Sequence[Volume]) -> Iterator[Catalogue]:
        with contextlib.suppress(OSError, ValueError):
            # Missing or damaged: the volumes contain everything.
            yield parse(self._cache.read_bytes())
        labelled = [volume for volume in volumes if volume.label is not None]
        for volume in sorted(labelled, key=lambda v: -(v.label.sequence if v.label else 0)):
            drive = self._library.load(volume, writing=False)
            try:
                found = read_catalogue(drive)
            finally:
                drive.close()
            if found is not None:
                yield found

    def _require_one_set(self, volumes: Sequence[Volume]) -> None:
        sets: dict[str, str] = {}
        for volume in volumes:
            if volume.label is not None:
                sets.setdefault(volume.label.set_id, volume.slot)
        if len(sets) > 1:
            raise TierUnavailableError(
                f"tier {self.name} has volumes of {len(sets)} sets",
                why=f"for instance {' and '.join(sorted(sets.values()))}",
                remedy="leave the volumes of one set there, and move the others away",
            )

    def _prune(self, catalogue: Catalogue, volumes: Sequence[Volume]) -> None:
        """Drop volumes that aren't here and hold no files: they were recycled."""
        at_hand = {volume.label.volume for volume in volumes if volume.label}
        wanted = {s.volume for entry in catalogue.live.values() for s in entry.segments}
        for volume in set(catalogue.volumes) - at_hand - wanted:
            catalogue.drop(volume)

    def _save(self) -> None:
        """Save a copy for the next process. It only saves reading, so a failure is only logged."""
        catalogue = self._known()
        try:
            make_private_directory(self._cache.parent)
            write_atomically(self._cache, dump(catalogue), mode=0o600)
        except OSError as error:
            _log.warning(
                "tier %s: no copy of the catalogue at %s: %s", self.name, self._cache, error
            )
        self._saved = len(catalogue.files)
