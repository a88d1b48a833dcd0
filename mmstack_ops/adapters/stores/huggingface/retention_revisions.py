"""Delete revisions of a Hugging Face cache that haven't been used for a long time.

The layout is that of huggingface_hub: a repository holds ``blobs``, ``refs`` and
``snapshots/<revision>``, and snapshots hold links to blobs
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from mmstack_ops.adapters.stores.retention_strategy import (
    Gone,
    Site,
    Tally,
    counted,
    folder_inside,
    is_new,
    opened_inside,
)
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import RevisionsRule

_KINDS = ("models--", "datasets--", "spaces--")
# Prefix of folders of links that are being deleted: huggingface_hub ignores such names there.
_ASIDE = ".going-"
_PARTS = ("snapshots", "blobs", "refs")


@dataclass(frozen=True)
class _Revision:
    """A snapshot in a repository of the cache.

    Args:
        blobs: the files that its links point to.
        used_at: when one of them was last read or written, as far as the file system records it:
            many are mounted to record reads once a day (relatime), or never.
        stays: why it is kept regardless of its age; empty if there is no such reason.
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
        leftovers: blobs that no revision links to and that haven't been used since the moment,
            from a killed clean-up or an aborted download. Newer ones may be a running download.
        aside: names of folders of links that a killed clean-up had moved aside.
    """

    folder: Path
    revisions: tuple[_Revision, ...]
    leftovers: tuple[Path, ...]
    aside: tuple[str, ...]


class HuggingfaceRevisions:
    """Deletion of revisions unused since the moment, with blobs that no other revision needs.

    A revision that a ref (a branch, a tag) points to is kept, and so is the model that the
    service is configured to serve.
    """

    needs_running: ClassVar[bool] = False

    def look(self, site: Site, rule: RevisionsRule) -> Found:
        """Check every revision; see ``Strategy.look``."""
        repositories = [_repository(site, folder) for folder in _folders(site, rule)]
        revisions = [one for repository in repositories for one in repository.revisions]
        left = [blob for repository in repositories for blob in repository.leftovers]
        aside = [f"{one.folder.name}/{name}" for one in repositories for name in one.aside]
        going = [one for one in revisions if _goes(one, site)]
        freed = sum(blob.lstat().st_size for blob in [*_only_of(going, revisions), *left])
        return Found(
            things="revisions",
            total=len(revisions) + len(left) + len(aside),
            expired=len(going) + len(left) + len(aside),
            leftovers=len(left) + len(aside),
            freed_bytes=freed,
            oldest=min((one.used_at for one in revisions), default=None),
            newest=max((one.used_at for one in revisions), default=None),
            names=(
                *(f"{one.repository.name}@{one.name}" for one in going),
                *(f"{blob.parents[1].name}: {blob.name}, of no revision" for blob in left),
                *(f"{name}, of a clean-up that was killed" for name in aside),
            ),
            notes=tuple(
                f"{one.repository.name}@{one.name} stays: {one.stays}"
                for one in revisions
                if one.stays and one.used_at < site.before
            ),
        )

    def clean(self, site: Site, rule: RevisionsRule) -> Gone:
        """Delete revisions, repository by repository; see ``Strategy.clean``."""
        with counted(site, "revisions") as tally:
            for folder in _folders(site, rule):
                _clean_up(site, rule, folder, tally)
        return Gone(tally.count, tally.freed_bytes)


def _clean_up(site: Site, rule: RevisionsRule, folder: Path, tally: Tally) -> None:
    """Delete links, then unused blobs; if this is killed, the next clean-up continues."""
    name = folder.name
    # Read it again: a download may have finished since the plan.
    found = _repository(site, folder)
    # Relative to descriptors of real folders: a folder that is now replaced by a link is harmless.
    with opened_inside(site, rule.path, name) as repository:
        for aside in found.aside:
            shutil.rmtree(aside, dir_fd=repository)
            tally.count += 1
    for one in [one for one in found.revisions if _goes(one, site)]:
        site.check()
        _remove(site, rule, one)
        site.tell(f"{name}@{one.name} went")
        tally.count += 1
    left = _repository(site, folder).leftovers
    if not left:
        return
    with opened_inside(site, rule.path, name, "blobs") as blobs:
        for blob in left:
            site.check()
            size = _unlink(blob.name, blobs, site.before)
            if size is not None:
                tally.freed_bytes += size
                # Blobs of the deleted revisions are counted with these.
                tally.count += blob in found.leftovers


def _unlink(name: str, folder: int, before: datetime) -> int | None:
    """Delete a blob unused since the moment; return its size, None if it is kept or missing."""
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if _used_at(seen) >= before.timestamp():
            return None
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        # A download that was finished in the meantime has another name now.
        return None
    return seen.st_size


def _used_at(seen: os.stat_result) -> float:
    return max(seen.st_atime, seen.st_mtime)


def _goes(revision: _Revision, site: Site) -> bool:
    return not revision.stays and revision.used_at < site.before


def _only_of(going: list[_Revision], every: list[_Revision]) -> list[Path]:
    """Return the blobs that only revisions to be deleted need."""
    needed = {blob for one in every if one not in going for blob in one.blobs}
    return sorted({blob for one in going for blob in one.blobs} - needed)


def _remove(site: Site, rule: RevisionsRule, revision: _Revision) -> None:
    """Delete a revision's links; move them aside first, so that clients never see half of them."""
    name = revision.repository.name
    with (
        opened_inside(site, rule.path, name) as repository,
        opened_inside(site, rule.path, name, "snapshots") as snapshots,
    ):
        aside = f"{_ASIDE}{revision.name}"
        os.rename(revision.name, aside, src_dir_fd=snapshots, dst_dir_fd=repository)
        shutil.rmtree(aside, dir_fd=repository)


def _folders(site: Site, rule: RevisionsRule) -> list[Path]:
    """Return the folders of the cache's repositories.

    Raises:
        RetentionError: the cache doesn't exist.
    """
    cache = folder_inside(site, rule.path)
    if cache.is_dir():
        return sorted(one for one in cache.iterdir() if one.name.startswith(_KINDS))
    if is_new(site, rule.path):
        return []  # Nothing was ever downloaded.
    raise RetentionError(
        f"{site.instance.service} has no cache {rule.path}",
        why="the schema declares a retention for it",
        remedy="correct the rule's path, or start the service: it makes its cache",
    )


def _repository(site: Site, folder: Path) -> _Repository:
    for part in (folder, *(folder / name for name in _PARTS)):
        _raise_if_link(part)
    spec = site.instance.spec
    told = " ".join([*(spec.entrypoint or ()), *(spec.command or ()), *spec.environment.values()])
    names = (folder.name, folder.name.partition("--")[2].replace("--", "/"))
    revisions = tuple(_revisions(folder, served=any(name in told for name in names)))
    linked = {blob.name for one in revisions for blob in one.blobs}
    with os.scandir(folder) as entries:
        aside = sorted(
            entry.name
            for entry in entries
            if entry.name.startswith(_ASIDE) and entry.is_dir(follow_symlinks=False)
        )
    return _Repository(
        folder, revisions, tuple(_leftovers(folder, linked, site.before)), tuple(aside)
    )


def _revisions(repository: Path, *, served: bool) -> Iterator[_Revision]:
    snapshots = repository / "snapshots"
    if not snapshots.is_dir():
        return
    refs = _refs(repository)
    for folder in sorted(snapshots.iterdir()):
        if folder.is_symlink() or not folder.is_dir():
            continue  # Not created by huggingface_hub.
        stays = "the service is told to serve this model" if served else refs.get(folder.name, "")
        yield _Revision(repository, folder.name, *_use(repository, folder), stays)


def _leftovers(repository: Path, linked: set[str], before: datetime) -> Iterator[Path]:
    blobs = repository / "blobs"
    if not blobs.is_dir():
        return
    for blob in sorted(blobs.iterdir()):
        if blob.name in linked or blob.is_symlink() or not blob.is_file():
            continue
        if _used_at(blob.stat()) < before.timestamp():
            yield blob


def _raise_if_link(path: Path) -> None:
    """Raise RetentionError if a part of a repository is a link.

    Raises:
        RetentionError: it is a link, which could point anywhere on this host.
    """
    if path.is_symlink():
        raise RetentionError(
            f"{path.name} of {path.parent.name} is a link",
            why="what it leads to isn't the cache's, and nothing of it may go",
            remedy="put the folder itself there",
        )


def _refs(repository: Path) -> dict[str, str]:
    """Return revision → why it is kept, for revisions that branches and tags point to."""
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
            # A link out of the cache was created by a user: keep its target.
            if target.parent == own and target.is_file():
                last = max(last, _used_at(target.stat()))
                blobs.add(target)
    return frozenset(blobs), from_epoch(last)
