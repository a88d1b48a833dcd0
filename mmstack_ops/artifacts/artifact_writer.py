"""Write a backup: first the payloads, then the manifest. A failure leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, cast, get_args

from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.packs import PackWriter
from mmstack_ops.artifacts.payload_writer import Packing, Role, storing
from mmstack_ops.artifacts.throttle import Throttle
from mmstack_ops.artifacts.trees import Before, StoredTree, store_tree
from mmstack_ops.domain.backups.by_hand import lines_by_hand
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.backups.keys import parse_key
from mmstack_ops.domain.backups.manifest import FORMAT, Manifest, Payload, omissions
from mmstack_ops.domain.backups.reference import MANIFEST, PACKS, BackupRef
from mmstack_ops.domain.backups.tree import PACK_BYTES
from mmstack_ops.domain.errors import (
    ArtifactError,
    BackupError,
    FileMissingError,
    ImmutableError,
    MmstackError,
)

if TYPE_CHECKING:
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.domain.backups.facts import Facts
    from mmstack_ops.domain.backups.tier import Tier

FACTS = "facts.json"
# An index has megabytes: threads of its own would cost more memory than the time is worth.
_SMALL_ROLES = frozenset({"index", "facts", "files", "aliases", "globals"})


@dataclass(frozen=True)
class Notes:
    """The notes of a backup type about its capture; see ``Capture.note``."""

    method: str
    versions: Mapping[str, str]
    restore_by_hand: Sequence[str]
    facts: Facts


class ArtifactCapture:
    """A capture to one tier. Implements ``Capture``.

    Created by ``taking``; ``manifest`` is set after its block.
    """

    previous: Manifest | None
    manifest: Manifest | None = None

    def __init__(
        self,
        tier: Tier,
        ref: BackupRef,
        *,
        project: str,
        image: str,
        packing: Packing,
        keys: Keys,
        cancel: threading.Event,
        tell: Callable[[str], None],
        progress: Callable[[int], None],
        previous: Manifest | None,
        pack_bytes: int,
    ) -> None:
        self.previous = previous
        self.encrypted = bool(packing.recipients)
        self._tier = tier
        self._ref = ref
        self._project = project
        self._image = image
        self._packing = packing
        self._keys = keys
        self._throttle = Throttle(cancel, packing.rate_limit)
        self._tell = tell
        self._progress = progress
        self._pack_bytes = pack_bytes
        self._payloads: list[Payload] = []
        self._new_packs: list[Payload] = []
        self._packs: tuple[Payload, ...] = ()
        self._notes: Notes | None = None
        self._figures: dict[str, int] = {}
        self._tree_stored = False
        self._unread: Mapping[str, str] = {}
        self._begun: list[str] = []

    @property
    def written_bytes(self) -> int:
        """Bytes written to the tier, without packs that are only referenced."""
        return sum(payload.stored_bytes for payload in self._payloads + self._new_packs)

    @contextmanager
    def payload(
        self, name: str, role: str, *, attributes: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        """Write one payload. An exception in the block discards it."""
        assert role in get_args(Role), role
        packing = replace(self._packing, threads=0) if role in _SMALL_ROLES else self._packing
        stored = name + packing.ending
        if not _is_plain(name) or any(payload.name == stored for payload in self._payloads):
            raise BackupError(
                f"a payload of {self._ref} can't be called {name!r}",
                why="names are file names without a folder, each used once, and none is"
                f" {MANIFEST}",
                remedy="this is a mistake in the backup type: report it",
            )
        key = self._ref.key(stored)
        self._begun.append(key)
        with storing(self._tier, key, packing, self._throttle, progress=self._progress) as writer:
            yield cast("BinaryIO", writer)
        self._payloads.append(
            writer.describe(stored, cast("Role", role), packing, dict(attributes or {}))
        )

    def tree(
        self, files: Iterator[TreeFile], open_file: Callable[[TreeFile], BinaryIO]
    ) -> StoredTree:
        """Store a tree; see ``Capture.tree``."""
        if self._tree_stored:
            raise BackupError(
                f"backup {self._ref} can't hold a second tree",
                remedy="this is a mistake in the backup type: report it",
            )
        self._tree_stored = True
        stored = store_tree(
            files,
            open_file,
            before=self._before(),
            packs=PackWriter(
                self._tier,
                self._ref,
                self._packing,
                self._throttle,
                progress=self._progress,
                begun=self._begun.append,
                finished=self._new_packs.append,
                pack_bytes=self._pack_bytes,
            ),
            new_packs=self._new_packs,
            open_payload=self.payload,
            tell=self._tell,
        )
        self._packs = stored.packs
        self._unread = stored.unread
        self._figures |= {
            "tree_entries": len(stored.entries),
            "tree_files_stored": stored.stored,
            "tree_files_unchanged": stored.reused,
            "tree_files_left_out": len(stored.unread),
        }
        return stored

    def note(
        self,
        *,
        method: str,
        versions: Mapping[str, str],
        restore_by_hand: Sequence[str],
        facts: Facts,
    ) -> None:
        """Record how the data was captured, and its facts. Call once, before the capture ends."""
        self._notes = Notes(method, versions, restore_by_hand, facts)

    def complete(self) -> Manifest:
        """Write the facts, then the manifest.

        Raises:
            BackupError: the backup type stored nothing or made no notes.
            TierError: the tier failed.
        """
        notes = self._notes
        if notes is None or not (self._payloads or self._tree_stored):
            raise BackupError(
                f"the backup {self._ref} holds nothing",
                why="its type ended without a payload or without saying what it captured",
                remedy="this is a mistake in the backup type: report it",
            )
        facts = replace(notes.facts, not_covered={**self._unread, **notes.facts.not_covered})
        with self.payload(FACTS, "facts") as target:
            target.write(facts.to_bytes())
        payloads = (*self._packs, *self._payloads)
        manifest = Manifest(
            format=FORMAT,
            project=self._project,
            environment=self._ref.environment,
            service=self._ref.service,
            type=self._ref.type,
            id=self._ref.id,
            created=self._ref.created,
            finished=datetime.now(UTC),
            method=notes.method,
            image=self._image,
            versions=dict(notes.versions),
            payloads=payloads,
            figures={**self._figures, **notes.facts.figures},
            recipients=self._packing.recipients,
            restore_by_hand=lines_by_hand(payloads, notes.restore_by_hand),
            parent=self.previous.id if self.previous and self._tree_stored else None,
            not_covered=omissions(facts.not_covered),
            not_covered_count=len(facts.not_covered),
            excluded=omissions(facts.excluded),
            excluded_count=len(facts.excluded),
        )
        self._throttle.check()
        self._check_packs()
        with self._tier.create(self._ref.manifest_key) as target:
            target.write(manifest.to_bytes())
        self.manifest = manifest
        return manifest

    def _check_packs(self) -> None:
        """Check the referenced packs again: another host may have swept them in the meantime."""
        if not self._packs:
            return
        sizes = self._pack_sizes()
        for pack in self._packs:
            if sizes.get(self._ref.pack_key(pack.name)) != pack.stored_bytes:
                raise BackupError(
                    f"the pack {pack.name} went away while backup {self._ref} was taken",
                    why="another host deleted the backups it belonged to",
                    remedy="take the backup again",
                )

    def _pack_sizes(self) -> dict[str, int]:
        return {file.key: file.size for file in self._tier.list(f"{self._ref.series}/{PACKS}/")}

    def discard(self) -> None:
        """Delete what was written. If the tier is unavailable, ``sweep`` deletes it later."""
        # All files that were begun: an interruption may come after a file is stored and before
        # it is recorded.
        keys = [self._ref.manifest_key, *reversed(self._begun)]
        try:
            self._tier.delete(keys)
        except MmstackError as error:
            # The original failure is the one to report; this error must not hide it.
            self._tell(f"leftovers of {self._ref} stay until the next sweep: {error.what}")

    def _before(self) -> Before:
        previous = self.previous
        if previous is None:
            return Before()
        if previous.recipients != self._packing.recipients:
            self._tell("everything is stored anew: backups are encrypted to others than before")
            return Before()
        packs = {pack.name: pack for pack in previous.with_role("pack")}
        sizes = self._pack_sizes()
        gone = frozenset(
            name
            for name, pack in packs.items()
            if sizes.get(self._ref.pack_key(name)) != pack.stored_bytes
        )
        if gone:
            self._tell(f"{len(gone)} packs of earlier backups are missing: stored anew")
        try:
            found = Artifact(self._tier, previous, self._keys).entries()
            entries = {entry.file.path: entry for entry in found if entry.has_content}
        except ArtifactError as error:
            # A full backup costs time; a backup based on a damaged one is worthless.
            self._tell(f"everything is stored anew: {error.what}")
            return Before()
        return Before(entries, packs, gone)


@contextmanager
def taking(
    tier: Tier,
    ref: BackupRef,
    *,
    project: str,
    image: str,
    packing: Packing,
    keys: Keys,
    cancel: threading.Event,
    tell: Callable[[str], None],
    progress: Callable[[int], None] | None = None,
    previous: Manifest | None = None,
    pack_bytes: int = PACK_BYTES,
) -> Iterator[ArtifactCapture]:
    """Take one backup. The manifest is written after the block; an exception deletes everything.

    Args:
        image: the image the service runs.
        keys: to read the index of ``previous``; without a key, an encrypted tree is stored in full.
        progress: called after each block with its number of plain bytes.
        previous: the newest complete backup of the series on ``tier`` (``newest_manifest``).

    Raises:
        BackupError: the backup type made no notes, or captured nothing.
        ImmutableError: a backup of this name exists; it isn't changed.
        TierError: the tier failed.
        CancelledError: the work was cancelled.
    """
    tier.check(writing=True)
    if any(tier.list(ref.prefix)):
        raise ImmutableError(
            f"there is a backup named {ref} on tier {tier.name} already",
            remedy="take it again: each backup gets a name of its own",
        )
    capture = ArtifactCapture(
        tier,
        ref,
        project=project,
        image=image,
        packing=packing,
        keys=keys,
        cancel=cancel,
        tell=tell,
        progress=progress or (lambda _: None),
        previous=previous,
        pack_bytes=pack_bytes,
    )
    try:
        yield capture
        capture.complete()
    except BaseException:
        # Also on an interruption: no partial backup may stay.
        capture.discard()
        raise


def newest_manifest(
    tier: Tier, series: str, *, now: datetime, tell: Callable[[str], None]
) -> Manifest | None:
    """Return the manifest of the newest complete backup of a series on ``tier``.

    A backup from the future (taken with a wrong clock) is considered last: its files may be older
    than those of backups taken since. A backup that can't be read is skipped.

    Args:
        series: ``environment/service/type``.

    Raises:
        TierError: the tier can't be written to.
    """
    # Checked for writing: the next backup is written here, and its first file may make the folder.
    tier.check(writing=True)
    found = (parse_key(file.key) for file in tier.list(f"{series}/"))
    refs = {key.ref for key in found if key is not None and key.kind == "manifest"}
    for ref in sorted(refs, key=lambda ref: (ref.created <= now, ref.id), reverse=True):
        try:
            return read_manifest(tier, ref)
        except (ArtifactError, FileMissingError) as error:
            tell(f"passed over {ref}: {error.what}")
    return None


def _is_plain(name: str) -> bool:
    return bool(name) and "/" not in name and not name.startswith(".") and name != MANIFEST
