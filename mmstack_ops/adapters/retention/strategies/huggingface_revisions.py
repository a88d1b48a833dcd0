"""Revisions of a Hugging Face cache that nobody has used for long.

The layout is huggingface_hub's: a repository holds ``blobs``, ``refs`` and
``snapshots/<revision>``, and snapshots hold links to blobs
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from mmstack_ops.adapters.retention.strategies.base import (
    Gone,
    Site,
    folder_inside,
    is_new,
    opened_inside,
)
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import RevisionsRule

_KINDS = ("models--", "datasets--", "spaces--")
# Beside the revisions: huggingface_hub looks at no other name there.
_GOING = ".going-"
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


@dataclass(frozen=True)
class _Repository:
    """A repository of the cache.

    Args:
        leftovers: blobs that no revision links to and nobody used since the moment: what a
            killed clean-up or a download that broke off left. Younger ones may be a download.
    """

    folder: Path
    revisions: tuple[_Revision, ...]
    leftovers: tuple[Path, ...]


class HuggingfaceRevisions:
    """Revisions unused since the moment go, with the blobs that no other revision needs.

    What a ref (a branch, a tag) points to stays, and so does the model the service is told to
    serve.
    """

    needs_running: ClassVar[bool] = False

    def look(self, site: Site, rule: RevisionsRule) -> Found:
        """Look at every revision; see ``Strategy.look``."""
        repositories = list(_repositories(site, rule))
        revisions = [one for repository in repositories for one in repository.revisions]
        left = [blob for repository in repositories for blob in repository.leftovers]
        going = [one for one in revisions if _goes(one, site)]
        freed = sum(blob.lstat().st_size for blob in [*_only_of(going, revisions), *left])
        return Found(
            things="revisions",
            total=len(revisions) + len(left),
            expired=len(going) + len(left),
            freed_bytes=freed,
            oldest=min((one.used_at for one in revisions), default=None),
            newest=max((one.used_at for one in revisions), default=None),
            names=(
                *(f"{one.repository.name}@{one.name}" for one in going),
                *(f"{blob.parents[1].name}: {blob.name}, of no revision" for blob in left),
            ),
            notes=tuple(
                f"{one.repository.name}@{one.name} stays: {one.stays}"
                for one in revisions
                if one.stays and one.used_at < site.before
            ),
        )

    def clean(self, site: Site, rule: RevisionsRule) -> Gone:
        """Delete links first, then the blobs nobody needs; see ``Strategy.clean``."""
        count = freed = 0
        for name in [one.folder.name for one in _repositories(site, rule)]:
            # Looked at again, one repository at a time: a download may have come in between.
            found = _named(site, rule, name)
            if found is None:
                continue
            for one in [one for one in found.revisions if _goes(one, site)]:
                site.check()
                _remove(site, rule, one)
                site.tell(f"{name}@{one.name} went")
                count += 1
            # Killed in between, blobs without a link are left: the next clean-up takes them.
            after = _named(site, rule, name)
            if after is None or not after.leftovers:
                continue
            count += len(found.leftovers)
            with opened_inside(site, rule.path, name, "blobs") as folder:
                for blob in after.leftovers:
                    site.check()
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


def _remove(site: Site, rule: RevisionsRule, revision: _Revision) -> None:
    """Remove a revision's links: out of sight at once, so that nobody finds half of them."""
    name = revision.repository.name
    # By descriptors of real folders: what becomes a link now leads nowhere.
    with (
        opened_inside(site, rule.path, name) as repository,
        opened_inside(site, rule.path, name, "snapshots") as snapshots,
    ):
        going = f"{_GOING}{revision.name}"
        os.rename(revision.name, going, src_dir_fd=snapshots, dst_dir_fd=repository)
        with os.scandir(repository) as entries:
            going_on = [entry.name for entry in entries if entry.name.startswith(_GOING)]
        for left in going_on:
            shutil.rmtree(left, dir_fd=repository)


def _named(site: Site, rule: RevisionsRule, name: str) -> _Repository | None:
    return next((one for one in _repositories(site, rule) if one.folder.name == name), None)


def _repositories(site: Site, rule: RevisionsRule) -> Iterator[_Repository]:
    cache = folder_inside(site, rule.path)
    if not cache.is_dir():
        if is_new(site, rule.path):
            return  # Nothing was ever downloaded.
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
        names = (repository.name, repository.name.partition("--")[2].replace("--", "/"))
        served = any(name in told for name in names)
        revisions = tuple(_revisions(repository, served=served))
        linked = {blob for one in revisions for blob in one.blobs}
        left = () if served else tuple(_leftovers(repository, linked, site.before))
        yield _Repository(repository, revisions, left)


def _revisions(repository: Path, *, served: bool) -> Iterator[_Revision]:
    snapshots = repository / "snapshots"
    if not snapshots.is_dir():
        return
    refs = _refs(repository)
    for folder in sorted(snapshots.iterdir()):
        if folder.is_symlink() or not folder.is_dir():
            continue  # Nothing that huggingface_hub put there.
        stays = "the service is told to serve this model" if served else refs.get(folder.name, "")
        yield _Revision(repository, folder.name, *_use(repository, folder), stays)


def _leftovers(repository: Path, linked: set[Path], before: datetime) -> Iterator[Path]:
    blobs = repository / "blobs"
    if not blobs.is_dir():
        return
    own = {blob.name for blob in linked}
    for blob in sorted(blobs.iterdir()):
        if blob.name in own or blob.is_symlink() or not blob.is_file():
            continue
        seen = blob.stat()
        if max(seen.st_atime, seen.st_mtime) < before.timestamp():
            yield blob


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
