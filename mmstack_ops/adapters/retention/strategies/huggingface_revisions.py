"""Revisions of a Hugging Face cache that nobody has used for long.

The layout is huggingface_hub's: a repository holds ``blobs``, ``refs`` and
``snapshots/<revision>``, and snapshots hold links to blobs
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from mmstack_ops.adapters.retention.strategies.base import Gone, Site, folder_inside
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import RevisionsRule

_KINDS = ("models--", "datasets--", "spaces--")
_PARTS = ("snapshots", "blobs", "refs")


@dataclass(frozen=True)
class _Revision:
    """A snapshot in a repository of the cache.

    Args:
        blobs: the files its links lead to.
        used_at: when one of them was last read or written, as far as the file system tells:
            many are mounted so that reading is noted once a day (relatime), or never.
        stays: why it stays whatever its age; empty when it needn't.
    """

    repository: Path
    name: str
    blobs: frozenset[Path]
    used_at: datetime
    stays: str

    @property
    def folder(self) -> Path:
        return self.repository / "snapshots" / self.name


class HuggingfaceRevisions:
    """Revisions unused since the moment go, with the blobs that no other revision needs.

    What a ref (a branch, a tag) points to stays, and so does the model the service is told to
    serve.
    """

    needs_running: ClassVar[bool] = False

    def look(self, site: Site, rule: RevisionsRule) -> Found:
        """Look at every revision; see ``Strategy.look``."""
        revisions = list(_revisions(site, rule))
        going = [one for one in revisions if _goes(one, site)]
        freed = sum(blob.stat().st_size for blob in _only_of(going, revisions))
        return Found(
            things="revisions",
            total=len(revisions),
            expired=len(going),
            freed_bytes=freed,
            oldest=min((one.used_at for one in revisions), default=None),
            newest=max((one.used_at for one in revisions), default=None),
            names=tuple(f"{one.repository.name}@{one.name}" for one in going),
            notes=tuple(
                f"{one.repository.name}@{one.name} stays: {one.stays}"
                for one in revisions
                if one.stays and one.used_at < site.before
            ),
        )

    def clean(self, site: Site, rule: RevisionsRule) -> Gone:
        """Delete links first, then the blobs nobody needs; see ``Strategy.clean``."""
        count = freed = 0
        for repository in sorted({one.repository for one in _revisions(site, rule)}):
            # Looked at again, one repository at a time: a download may have come in between.
            own = [one for one in _revisions(site, rule) if one.repository == repository]
            going = [one for one in own if _goes(one, site)]
            blobs = _only_of(going, own)
            # By descriptors of real folders: a folder that becomes a link now leads nowhere.
            with _opened(repository, "snapshots") as snapshots:
                for one in going:
                    site.check()
                    # Killed in between, blobs without a link are left: they take room, and the
                    # next download of the revision takes them up again.
                    shutil.rmtree(one.name, dir_fd=snapshots)
                    site.tell(f"{repository.name}@{one.name} went")
                    count += 1
            if not blobs:
                continue
            with _opened(repository, "blobs") as folder:
                for blob in blobs:
                    size = os.stat(blob.name, dir_fd=folder, follow_symlinks=False).st_size
                    os.unlink(blob.name, dir_fd=folder)
                    freed += size
        return Gone(count, freed)


def _goes(revision: _Revision, site: Site) -> bool:
    return not revision.stays and revision.used_at < site.before


def _only_of(going: list[_Revision], every: list[_Revision]) -> list[Path]:
    """Return the blobs that only revisions which go need."""
    needed = {blob for one in every if one not in going for blob in one.blobs}
    return sorted({blob for one in going for blob in one.blobs} - needed)


def _revisions(site: Site, rule: RevisionsRule) -> Iterator[_Revision]:
    cache = folder_inside(site, rule.path)
    if not cache.is_dir():
        raise RetentionError(
            f"{site.instance.service} has no cache {rule.path}",
            why="the schema declares a retention for it",
            remedy="correct the rule's path, or start the service: it makes its cache",
        )
    spec = site.instance.spec
    told = " ".join([*(spec.entrypoint or ()), *(spec.command or ()), *spec.environment.values()])
    for repository in sorted(cache.iterdir()):
        if not repository.name.startswith(_KINDS):
            continue
        for part in (repository, *(repository / name for name in _PARTS)):
            _refuse_link(part)
        if not (repository / "snapshots").is_dir():
            continue
        names = (repository.name, repository.name.partition("--")[2].replace("--", "/"))
        served = any(name in told for name in names)
        refs = _refs(repository)
        for folder in sorted((repository / "snapshots").iterdir()):
            if folder.is_symlink() or not folder.is_dir():
                continue  # Nothing that huggingface_hub put there.
            stays = refs.get(folder.name, "")
            if served:
                stays = "the service is told to serve this model"
            yield _Revision(repository, folder.name, *_use(repository, folder), stays)


def _refuse_link(path: Path) -> None:
    """Say nothing when a part of a repository stands where it seems to stand.

    Raises:
        RetentionError: it is a link, which could lead anywhere on this host.
    """
    if path.is_symlink():
        raise RetentionError(
            f"{path.name} of {path.parent.name} is a link",
            why="what it leads to isn't the cache's, and nothing of it may go",
            remedy="put the folder itself there",
        )


@contextmanager
def _opened(repository: Path, part: str) -> Iterator[int]:
    """Give the descriptor of a repository's folder; neither it nor the repository is a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    outer = inner = -1
    try:
        for path in (repository, repository / part):
            _refuse_link(path)
        outer = os.open(repository, flags)
        inner = os.open(part, flags, dir_fd=outer)
        yield inner
    finally:
        for descriptor in (outer, inner):
            if descriptor >= 0:
                os.close(descriptor)


def _refs(repository: Path) -> dict[str, str]:
    """Return revision → why it stays, for what branches and tags point to."""
    found: dict[str, str] = {}
    refs = repository / "refs"
    for folder, _, names in os.walk(refs):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            found[path.read_text().strip()] = f"{path.relative_to(refs)} points to it"
    return found


def _use(repository: Path, folder: Path) -> tuple[frozenset[Path], datetime]:
    """Return the blobs of a revision and when it was last used."""
    blobs: set[Path] = set()
    last = folder.lstat().st_mtime
    own = (repository / "blobs").resolve()
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            last = max(last, path.lstat().st_mtime)
            target = path.resolve()
            # A link that leads out of the cache is somebody's own: what it leads to stays.
            if target.parent == own and target.is_file():
                seen = target.stat()
                last = max(last, seen.st_atime, seen.st_mtime)
                blobs.add(target)
    return frozenset(blobs), datetime.fromtimestamp(last, UTC)
