"""The interface of backup types, and the interfaces they use. A new type is one file."""

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
    """A service's running (or, if a type requires it, stopped) container.

    The live container and a scratch container are restored and inspected in the same way.
    """

    environment: str
    service: str
    definition: Service
    values: EnvironmentValues = field(repr=False)
    spec: ContainerSpec = field(repr=False)
    """What the container was created from: image, environment, mounts."""
    container_id: str
    name: str
    network: str
    """The network that one-shot containers join to reach it; its host name is ``service``."""
    address: str
    """Its IPv4 address on that network, reachable from this host."""
    volumes: Mapping[str, str]
    """Path inside the container → the volume's name on the engine."""
    running: bool = True
    scratch: bool = False
    """Whether it was created to restore into, and isn't the service's live container."""
    own: Collection[str] = frozenset()
    """For a scratch container: the names (as in the facts) of what it held before the restore.
    Anything else that is there and wasn't recorded came with the backup, and is a difference."""


class Tools(Protocol):
    """Commands in one container that exists already; see ``Workbench.tools``."""

    def produce(
        self, program: str, script: str, *, stderr_fails: Callable[[str], bool] = bool
    ) -> AbstractContextManager[BinaryIO]:
        """Return what a shell script writes to its standard output, as a stream.

        Args:
            program: the program that the script runs, for messages.
            script: must not contain a secret.

        Raises:
            BackupError: as ``Workbench.produce``, when the block is left.
        """
        ...


class CommandOptions(TypedDict, total=False):
    """Options of a command in a one-shot container."""

    environment: Mapping[str, str]
    """Environment variables. Never a secret: ``docker inspect`` shows them."""
    secrets: Mapping[str, str]
    """Name → value; mounted as files under ``/run/exchange/secrets/<name>``, readable by the
    command's user, deleted when the block ends."""
    volumes: Mapping[str, str]
    """Volume → path where it is mounted."""
    deadline: float
    """In seconds."""


class Workbench(Protocol):
    """Access to containers and volumes. Everything it creates is labelled and removed."""

    cancel: threading.Event
    accept_differences: bool
    """Whether the operator accepts a copy that differs from what was recorded."""

    def tell(self, message: str) -> None:
        """Report progress to the log and the terminal."""
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

        The container uses the instance's image and network. ``$OUT`` is a FIFO in a
        bind-mounted exchange folder. Leaving the block waits until the container exits. It raises
        an error on an exit code other than 0, on termination by a signal, and if ``stderr_fails``
        judges stderr to be a failure. So an incomplete stream is never taken for a complete one.

        Args:
            command: argument list; ``["sh", "-c", "pg_dump … >\"$OUT\""]``. Never a secret.
            stderr_fails: judges the whole of stderr; by default any output is a failure.
            options: volumes are mounted read-only; the default deadline is six hours.

        Raises:
            BackupError: with the command's program and the last lines of stderr.
            CancelledError: ``cancel`` was set.
        """
        ...

    def tools(
        self, instance: Instance, **options: Unpack[CommandOptions]
    ) -> AbstractContextManager[Tools]:
        """Run several commands in a single one-shot container, one after the other.

        Otherwise as ``produce``; the deadline applies to each command. After a command failed,
        the container can't be used any more.
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

        Otherwise as ``produce``; ``volumes`` are writable.
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
        """Run ``command`` in a one-shot container; return its stdout. Otherwise as ``produce``.

        The default deadline is ten minutes; stderr is ignored unless the command fails.

        Args:
            writable: whether the command may write to ``volumes``.

        Raises:
            BackupError: the exit code isn't 0; with the last lines of stderr.
        """
        ...

    def volume_path(self, volume: str) -> Path | None:
        """Return the volume's folder if this process may read it directly; otherwise None."""
        ...

    def read_tree(self, instance: Instance, path: str) -> AbstractContextManager[BinaryIO]:
        """Return a tar of ``path`` inside the container, from the engine (in any state)."""
        ...

    def write_tree(self, instance: Instance, path: str, archive: BinaryIO) -> None:
        """Unpack a tar into ``path`` inside the container (in any state); keep file owners."""
        ...

    def folder(self, name: str) -> Path:
        """Return a private folder of the environment's state; create it if it doesn't exist."""
        ...

    def stop(self, instance: Instance) -> None:
        """Stop the container; use its own grace period."""
        ...

    def start(self, instance: Instance) -> Instance:
        """Start the container and wait until it is healthy; return it with its new address."""
        ...

    def paused(self, instance: Instance) -> AbstractContextManager[None]:
        """Freeze the processes of all replicas during the block (cgroup freezer); then thaw them.

        What is frozen or stopped for a backup is journalled: if this process crashes, the next
        run undoes it.
        """
        ...

    def stopped(self, instance: Instance) -> AbstractContextManager[None]:
        """Stop all replicas during the block; start them afterwards, also after a failure."""
        ...

    def journal(self, key: str, undo: Mapping[str, str]) -> AbstractContextManager[None]:
        """Record how to restore a setting that the block changes.

        The record is on disk before the block starts and is deleted when the block ends without
        an error. After a crash, ``leftovers`` finds it.
        """
        ...

    def abandoned(self, begins: str) -> Iterator[Mapping[str, str]]:
        """Yield killed processes' journal records whose keys start with ``begins``; keep them."""
        ...

    def leftovers(self, key: str) -> Iterator[Mapping[str, str]]:
        """Yield killed processes' journal records under ``key``; delete each."""
        ...


class Capture(Protocol):
    """The target of a capture. Payloads are compressed, encrypted, hashed and stored."""

    previous: Manifest | None
    """The newest complete backup of this series on this tier."""
    encrypted: bool
    """Whether payloads are encrypted, so that they may contain secrets."""

    def payload(
        self, name: str, role: str, *, attributes: Mapping[str, str] | None = None
    ) -> AbstractContextManager[BinaryIO]:
        """Write one payload; if an exception leaves the block, the payload is discarded.

        Args:
            name: file name without the suffixes for compression and encryption: ``app.dump``.
        """
        ...

    def tree(
        self, files: Iterator[TreeFile], open_file: Callable[[TreeFile], BinaryIO]
    ) -> StoredTree:
        """Store a tree; files that haven't changed since ``previous`` are referenced, not read.

        A file that can't be read, or that changes each time it is read, doesn't stop the capture:
        the manifest lists it as not covered.

        Args:
            files: in any order; symbolic links are kept as links.
            open_file: called for new and changed files and objects; raises ``FileGoneError`` if
                the file was deleted in the meantime, ``FileVanishedError`` or ``OSError`` if it
                can't be read.

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
        """Record how the backup was captured and what there was. Call it once, before the end.

        Args:
            facts: from an inventory that no filter of the backup affects: everything that exists
                is in ``items`` or ``figures``, or named in ``not_covered`` or ``excluded``.
        """
        ...


class OpenArtifact(Protocol):
    """A stored backup that is open for reading: decrypted, decompressed, with hashes checked."""

    manifest: Manifest

    def read(self, payload: Payload) -> AbstractContextManager[BinaryIO]:
        """Read a payload's plain bytes.

        Size and hashes are checked at the end of the stream, not if the block is left earlier.

        Raises:
            ArtifactError: the stored bytes aren't the bytes that were written, or the key is
                missing or wrong.
        """
        ...

    def facts(self) -> Facts:
        """Return the facts that were recorded at backup time."""
        ...

    def files(self) -> Iterator[TreeFile]:
        """Yield the entries of the tree, each folder before its contents."""
        ...

    def entries(self) -> Iterator[IndexEntry]:
        """Yield the index of the tree: its entries, with the hashes of their contents."""
        ...

    def contents(
        self, wanted: Callable[[TreeFile], bool] = ...
    ) -> Iterator[tuple[TreeFile, BinaryIO | None]]:
        """Yield entries with their content, pack by pack (so in no particular order).

        Folders and links come first and have no content. Read each content before you request
        the next entry. The content of a sparse file is that of ``TreeFile.data``.
        """
        ...


class BackupType(Protocol):
    """A way to back up a service. Stateless; registered under (method, name)."""

    method: ClassVar[str]
    """The ``backup.method`` of the schema: ``postgres``, ``redis``, ``volumes`` …"""
    name: ClassVar[str]
    """The name of the type in the schema: ``full``, ``rdb`` …"""
    tree: ClassVar[bool]
    """Whether backups are incremental."""
    needs_running: ClassVar[bool]
    """Whether the service must be running to be backed up."""
    needs_stop: ClassVar[bool]
    """Whether ``restore`` requires a stopped service, and leaves it stopped: it replaces files,
    which are compared before the service changes them."""
    drilled_in: ClassVar[Literal["server", "files"]]
    """Where a drill restores to: a running scratch server; or scratch volumes of a container
    that is never started, for files that can be compared without their server (which may need
    other services to start)."""

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Back up the instance.

        Raises:
            BackupError: nothing usable was captured.
            CancelledError: the bench's ``cancel`` was set.
        """
        ...

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:
        """Read everything and check its structure; return the problems as messages.

        Args:
            image: the service's image, for tools such as ``redis-check-rdb``.
        """
        ...

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Load the artifact into an instance and replace its content.

        What the backup names as left out (``Facts.left_out``) isn't changed.

        The instance is running, except for types that restore files of volumes: for these it is
        stopped (``needs_stop``) and stays stopped. Safe to repeat after a failure.

        Returns:
            The instance, which may have been restarted (with a new address).

        Raises:
            PartialRestoreError: everything was loaded except what the error names.
            UntouchedError: the restore failed; the instance's content is unchanged.
            RestoreError: the restore failed; the instance's content is undefined.
        """
        ...

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Return facts about the content of an instance, in the way a backup records them.

        Args:
            like: recorded facts; a sample consists of the same items.
        """
        ...
