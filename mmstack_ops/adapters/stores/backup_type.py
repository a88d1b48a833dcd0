"""What a backup type offers, and what it is given. A new type is one file that has this."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, Protocol, TypedDict, Unpack

from mmstack_ops.artifacts.trees import StoredTree
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile as TreeFile
from mmstack_ops.domain.backups.manifest import Manifest, Payload
from mmstack_ops.domain.backups.tree import IndexEntry
from mmstack_ops.domain.schema.service import Service
from mmstack_ops.domain.secrets.values import EnvironmentValues
from mmstack_ops.domain.stacks.spec import ContainerSpec


@dataclass(frozen=True)
class Instance:
    """A service's running (or, where a type asks for it, stopped) container.

    The live one and a scratch one are restored and inspected in the same way.
    """

    environment: str
    service: str
    definition: Service
    values: EnvironmentValues = field(repr=False)
    spec: ContainerSpec = field(repr=False)
    """What the container was made from: image, environment, mounts."""
    container_id: str
    name: str
    network: str
    """The network one-shot containers join to reach it; it answers there to ``service``."""
    address: str
    """Its IPv4 address on that network, reachable from this host."""
    volumes: Mapping[str, str]
    """Path inside the container → the volume's name on the engine."""
    running: bool = True
    scratch: bool = False
    """It was made to restore into, and isn't the service's live container."""
    own: Collection[str] = frozenset()
    """Of a scratch one: the facts' names of what it had before anything was restored into it.
    Whatever else is there and wasn't recorded came with the backup, and is a difference."""


class Tools(Protocol):
    """Commands in one container that is there already; see ``Workbench.tools``."""

    def produce(
        self, program: str, script: str, *, stderr_fails: Callable[[str], bool] = bool
    ) -> AbstractContextManager[BinaryIO]:
        """Read what a shell script writes to its standard output.

        Args:
            program: what it runs, for messages.
            script: never a secret.

        Raises:
            BackupError: as ``Workbench.produce``, when the block is left.
        """
        ...


class CommandOptions(TypedDict, total=False):
    """What a command in a one-shot container is given."""

    environment: Mapping[str, str]
    """Variables. Never a secret: ``docker inspect`` shows them."""
    secrets: Mapping[str, str]
    """Name → value; mounted as files under ``/run/exchange/secrets/<name>``, readable by the
    command's user, gone with the block."""
    volumes: Mapping[str, str]
    """Volume → path where it is mounted."""
    deadline: float
    """Seconds."""


class Workbench(Protocol):
    """How types reach containers and volumes. Everything it makes is labelled and removed."""

    cancel: threading.Event
    accept_differences: bool
    """The operator takes a copy that differs from what was recorded."""

    def tell(self, message: str) -> None:
        """Say what is going on, for the log and the terminal."""
        ...

    def produce(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        stderr_fails: Callable[[str], bool] = bool,
        **options: Unpack[CommandOptions],
    ) -> AbstractContextManager[BinaryIO]:
        """Run ``command`` in a one-shot container and read what it writes to ``$OUT``.

        The container is of the instance's image and on its network. ``$OUT`` is a FIFO in a
        bind-mounted exchange folder. Leaving the block waits for the end of the container:
        an exit code other than 0, a death by signal, or stderr that ``stderr_fails`` calls a
        failure raise, so that a half stream is never taken for a whole one.

        Args:
            command: argument list; ``["sh", "-c", "pg_dump … >\"$OUT\""]``. Never a secret.
            stderr_fails: judges the whole of stderr; by default any output is a failure.
            options: volumes are read-only here; its deadline is six hours where none is given.

        Raises:
            BackupError: naming the command's program and the last lines of stderr.
            CancelledError: when ``cancel`` was set.
        """
        ...

    def tools(
        self, instance: Instance, **options: Unpack[CommandOptions]
    ) -> AbstractContextManager[Tools]:
        """Run several commands in one one-shot container, one after the other.

        As ``produce`` in all else; the deadline is each command's. A command that fails ends
        the use of the container.
        """
        ...

    def consume(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        stderr_fails: Callable[[str], bool] = bool,
        **options: Unpack[CommandOptions],
    ) -> AbstractContextManager[BinaryIO]:
        """Run ``command`` in a one-shot container and write to what it reads as ``$IN``.

        As ``produce`` in all else; ``volumes`` are writable here.
        """
        ...

    def run(
        self,
        instance: Instance,
        command: Sequence[str],
        *,
        writable: bool = False,
        **options: Unpack[CommandOptions],
    ) -> str:
        """Run ``command`` in a one-shot container; return its stdout. As ``produce`` in all else.

        Its deadline is ten minutes where none is given; what it says on stderr is left aside.

        Args:
            writable: it may write to ``volumes``.

        Raises:
            BackupError: an exit code other than 0, with the last lines of stderr.
        """
        ...

    def volume_path(self, volume: str) -> Path | None:
        """Return the volume's folder where this process may read it directly; else None."""
        ...

    def read_tree(self, instance: Instance, path: str) -> AbstractContextManager[BinaryIO]:
        """Return a tar of ``path`` inside the container, made by the engine (any state)."""
        ...

    def write_tree(self, instance: Instance, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into ``path`` inside the container (any state), owners kept."""
        ...

    def folder(self, name: str) -> Path:
        """Return a private folder of the environment's state, made when it isn't there."""
        ...

    def stop(self, instance: Instance) -> None:
        """Stop the container with its own grace period."""
        ...

    def start(self, instance: Instance) -> Instance:
        """Start it, wait until healthy; return it with its new address."""
        ...

    def paused(self, instance: Instance) -> AbstractContextManager[None]:
        """Freeze the processes of all replicas for the block (cgroup freezer); thaw after.

        What is frozen or stopped for a backup is journalled: a crash of ours is made good by
        the next run.
        """
        ...

    def stopped(self, instance: Instance) -> AbstractContextManager[None]:
        """Stop all replicas for the block; start them after, also after a failure."""
        ...

    def journal(self, key: str, undo: Mapping[str, str]) -> AbstractContextManager[None]:
        """Remember how to give back a setting that the block changes.

        The record is on disk before the block begins and goes when the block ends by itself.
        What a crash leaves is found by ``leftovers``.
        """
        ...

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield what earlier, killed processes journalled under keys that begin so; keep it."""
        ...

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield what earlier, killed processes journalled under ``key``, and forget each."""
        ...


class Capture(Protocol):
    """Where a type puts what it captured. Payloads are compressed, encrypted, hashed, stored."""

    previous: Manifest | None
    """The newest complete backup of this series on this tier."""
    encrypted: bool
    """Payloads are encrypted: secrets may be among them."""

    def payload(
        self, name: str, role: str, *, attributes: Mapping[str, str] | None = None
    ) -> AbstractContextManager[BinaryIO]:
        """Write one payload; leaving the block by an exception discards it.

        Args:
            name: file name without the endings of compression and encryption: ``app.dump``.
        """
        ...

    def tree(
        self, files: Iterator[TreeFile], open_file: Callable[[TreeFile], BinaryIO]
    ) -> StoredTree:
        """Store a tree: what is unchanged since ``previous`` is referenced, not read again.

        One file that can't be read, or changes each time it is read, doesn't stop the rest: it
        stands in the manifest as not covered.

        Args:
            files: in any order; symbolic links are kept as links.
            open_file: called for files and objects that are new or changed; raises
                ``FileGoneError`` for one that was deleted meanwhile, ``FileVanishedError`` or
                ``OSError`` for one that can't be read.

        Returns:
            What was stored, and what couldn't be read.
        """
        ...

    def note(
        self,
        *,
        method: str,
        versions: Mapping[str, str],
        restore_by_hand: Sequence[str],
        facts: Facts,
    ) -> None:
        """Say how it was captured and what was there. Once, before the capture ends.

        Args:
            facts: taken by an inventory that no filter of the backup touches: everything that
                is there is in ``items`` or ``figures``, or stands by name in ``not_covered`` or
                ``excluded``.
        """
        ...


class OpenArtifact(Protocol):
    """A stored backup, opened for reading: decrypted and decompressed, hashes checked."""

    manifest: Manifest

    def read(self, payload: Payload) -> AbstractContextManager[BinaryIO]:
        """Read a payload's plain bytes.

        Reaching the end checks size and hashes; leaving the block earlier doesn't.

        Raises:
            ArtifactError: the stored bytes aren't those that were written, or the key is
                missing or wrong.
        """
        ...

    def facts(self) -> Facts:
        """Return what was recorded at backup time."""
        ...

    def files(self) -> Iterator[TreeFile]:
        """Yield the entries of the tree, folders before what is in them."""
        ...

    def entries(self) -> Iterator[IndexEntry]:
        """Yield the index of the tree: its entries, with the hashes of their contents."""
        ...

    def contents(
        self, wanted: Callable[[TreeFile], bool] = ...
    ) -> Iterator[tuple[TreeFile, BinaryIO | None]]:
        """Yield entries with their content, pack by pack (so in no particular order).

        Folders and links come first and have no content. Each content must be read before
        the next entry is asked for; of a sparse file it is that of ``TreeFile.data``.
        """
        ...


class BackupType(Protocol):
    """One way to back a service up. Stateless; registered under (method, name)."""

    method: ClassVar[str]
    """The schema's ``backup.method`` it belongs to: ``postgres``, ``redis``, ``volumes`` …"""
    name: ClassVar[str]
    """The schema's name of the type: ``full``, ``rdb`` …"""
    tree: ClassVar[bool]
    """It is incremental."""
    needs_running: ClassVar[bool]
    """The service must be up to be backed up."""
    needs_stop: ClassVar[bool]
    """``restore`` wants the service stopped, and leaves it so: it replaces files, which are
    compared before the service changes them."""
    drilled_in: ClassVar[Literal["server", "files"]]
    """Where a drill restores to: a scratch server that runs; or scratch volumes of a container
    that is never started, for files that can be compared without their server (which may need
    other services to start at all)."""

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Back the instance up.

        Raises:
            BackupError: nothing usable was captured.
            CancelledError: when the bench's ``cancel`` was set.
        """
        ...

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        """Read everything and check its structure; return problems in words.

        Args:
            image: the service's image, for tools such as ``redis-check-rdb``.
        """
        ...

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Load the artifact into an instance, replacing what it holds.

        What the backup says it doesn't hold (``Facts.left_out``) is left as it is.

        The instance is running, except for types that restore files of volumes: those get it
        stopped (``needs_stop``) and leave it so. Safe to repeat after a failure.

        Returns:
            The instance, which may have been restarted (a new address).

        Raises:
            PartialRestoreError: all was loaded but what it names.
            UntouchedError: what failed; the instance holds what it held before.
            RestoreError: what failed; the instance's content is undefined then.
        """
        ...

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Look at what an instance holds, the way it was recorded at backup time.

        Args:
            like: recorded facts; a sample is taken of the same items.
        """
        ...
