"""The interface of retention strategies, and their helpers. A strategy is a file in its store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from mmstack_ops.domain.errors import CancelledError, MmstackError, RetentionError
from mmstack_ops.domain.retention.live import Found, Things

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Instance, Workbench

Rule = TypeVar("Rule", contravariant=True)


@dataclass(frozen=True)
class Site:
    """The service a strategy works on.

    Args:
        before: anything older than this is deleted; with a time zone.
        age: the same in seconds, for ages that are measured from the time of the check.
        tell: reports progress to the log and the terminal.
        archive: creates the folder for archives of a name, and returns it.
        recipients: returns the age recipients that archives are encrypted to; if there are none,
            archives aren't encrypted.
    """

    bench: Workbench
    instance: Instance
    before: datetime
    age: float
    tell: Callable[[str], None]
    archive: Callable[[str], Path]
    recipients: Callable[[], tuple[str, ...]]

    def check(self) -> None:
        """Raise an error if the run was cancelled.

        Raises:
            CancelledError: what was deleted so far stays deleted; no deletion is incomplete.
        """
        if self.bench.cancel.is_set():
            raise CancelledError(f"the clean-up of {self.instance.service} was cancelled")


@dataclass(frozen=True)
class Gone:
    """The result of a clean-up.

    Args:
        count: how many of the things that ``Found`` counts were deleted.
        freed_bytes: None if unknown.
    """

    count: int
    freed_bytes: int | None
    notes: tuple[str, ...] = ()


@dataclass
class Tally:
    """A count of what was deleted so far; see ``Gone``."""

    count: int = 0
    freed_bytes: int = 0


@contextmanager
def counted(site: Site, things: Things) -> Iterator[Tally]:
    """Yield a tally for a clean-up; errors in the block then state how much was deleted.

    Raises:
        RetentionError: the clean-up failed; states how much was deleted.
        CancelledError: the clean-up was cancelled; states how much was deleted.
    """
    tally = Tally()
    try:
        yield tally
    except CancelledError as error:
        raise CancelledError(f"{error.what}; {tally.count} {things} went before") from None
    except MmstackError as error:
        if not tally.count:
            raise
        raise RetentionError(
            f"{tally.count} {things} went, then: {error.what}", why=error.why, remedy=error.remedy
        ) from None
    except OSError as error:
        raise RetentionError(
            f"{tally.count} {things} of {site.instance.service} went, then one couldn't be deleted",
            why=": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))),
            remedy="look at the volume's file system, then clean up again",
        ) from None


class Strategy(Protocol[Rule]):
    """A way to delete old data. Stateless."""

    needs_running: ClassVar[bool]
    """Whether the service must be running; otherwise the files of its volumes are enough."""

    def look(self, site: Site, rule: Rule) -> Found:
        """Count what exists and what would be deleted. Changes nothing.

        Raises:
            RetentionError: the subject of the rule doesn't exist, or can't be judged.
            BackupError: the server failed.
        """
        ...

    def clean(self, site: Site, rule: Rule) -> Gone:
        """Delete what is older than ``site.before``, piece by piece; safe to repeat.

        Raises:
            RetentionError: not everything could be deleted; states what was.
            BackupError: the server failed; what was deleted before stays deleted.
            CancelledError: cancelled between two pieces.
        """
        ...


def folder_inside(site: Site, path: str) -> Path:
    """Return the path on this host of a folder inside the container.

    Raises:
        RetentionError: the folder is on no volume of the service, or can't be reached from here.
    """
    volume, below = _place(site, path)
    return volume / below


def is_new(site: Site, path: str) -> bool:
    """Return whether the volume that holds ``path`` is empty, because its service is new."""
    return not any(_place(site, path)[0].iterdir())


@contextmanager
def opened_inside(site: Site, path: str, *inner: str) -> Iterator[int]:
    """Yield a descriptor of a folder inside the container, to delete relative to it.

    A container may put a link there at any time, and a clean-up usually runs as root. So the
    path from the volume to the folder is opened one component at a time, without following links.

    Args:
        inner: folders below ``path``, each inside the previous one; they must not be links.

    Raises:
        RetentionError: the folder doesn't exist, or became a link.
    """
    descriptor = _descriptor(site, path, inner)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _descriptor(site: Site, path: str, inner: Sequence[str]) -> int:
    volume, below = _place(site, path)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = -1
    try:
        descriptor = os.open(volume, flags)
        for part in (*below.parts, *inner):
            following = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        # With O_DIRECTORY and O_NOFOLLOW, opening a link fails with "not a directory".
        raise RetentionError(
            f"{path} of {site.instance.service} isn't there any more, or became a link",
            why=error.strerror or str(error),
            remedy="look at what runs in the container; nothing more was deleted there",
        ) from None
    return descriptor


def _place(site: Site, path: str) -> tuple[Path, Path]:
    """Return a volume's folder on this host, and the relative path from there to ``path``."""
    service = site.instance.service
    holding = [
        target
        for target in site.instance.volumes
        if path == target or path.startswith(f"{target.rstrip('/')}/")
    ]
    if not holding:
        raise RetentionError(
            f"{path} of {service} is on none of its volumes",
            why="what isn't on a volume goes with the container",
            remedy="correct `path` of the rule in the schema",
        )
    target = max(holding, key=len)
    folder = site.bench.volume_path(site.instance.volumes[target])
    if folder is None:
        raise RetentionError(
            f"{path} of {service} is out of reach",
            why="its volume isn't there, or this process can't read the engine's folder of volumes",
            remedy=f"start {service} once; run as root on the engine's host",
        )
    root = folder.resolve()
    found = (folder / path.removeprefix(target).strip("/")).resolve()
    # A link inside a volume could lead anywhere on this host.
    if not found.is_relative_to(root):
        raise RetentionError(
            f"{path} of {service} leads out of its volume",
            why=f"it is a link to {found}",
            remedy="name the folder itself in the rule",
        )
    return root, found.relative_to(root)
