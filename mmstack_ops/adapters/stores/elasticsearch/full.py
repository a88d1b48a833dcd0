"""Back up Elasticsearch with its snapshot API, and the repository as an incremental tree.

Tested only against a scripted server: docs/backups.md explains what that means.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/snapshot-restore.html
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.elasticsearch.facts import (
    FirstForm,
    is_counted_only,
    look_at,
    merged,
)
from mmstack_ops.adapters.stores.elasticsearch.restore import (
    REPOSITORY,
    IndicesRestore,
    delete_copies,
)
from mmstack_ops.adapters.stores.elasticsearch.server import ElasticsearchServer, Source
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree, structure_problems
from mmstack_ops.domain.backups.facts import Facts, is_below
from mmstack_ops.domain.backups.stable_facts import stable_facts
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    PartialRestoreError,
    RestoreError,
    UntouchedError,
)

_PATH_REPO = "ES_SETTING_PATH_REPO"
_DEADLINE = 6 * 3600.0
_POLL = 1.0
_OWN = "Elasticsearch's own: it belongs to the version that made it"
_CLUSTER = "part of the cluster's state, which isn't taken"
_CLOSED = "it is closed, so that its documents can't be read: open it to have it backed up"


class ElasticsearchFull:
    """All indices and data streams that aren't Elasticsearch's own, while the server runs."""

    method: ClassVar[str] = "elasticsearch"
    name: ClassVar[str] = "full"
    tree: ClassVar[bool] = True
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store a snapshot; see ``BackupType.capture``."""
        server = ElasticsearchServer(instance)
        delete_copies(bench, instance, server)
        version = server.ask("GET", "/")["version"]["number"]
        sources = server.sources()
        excluded = {one.place: _OWN for one in sources if one.own}
        excluded |= dict.fromkeys(server.cluster_names(), _CLUSTER)
        missing = {one.place: _CLOSED for one in sources if one.closed and not one.own}
        wanted = [one for one in sources if not one.own and not one.closed]
        before = _looked_at(bench, server, wanted, missing)
        _register(server, instance)
        made = f"mmstack-{int(time.time())}-{secrets.token_hex(4)}"
        bench.tell(f"snapshot of {instance.service}")
        missing |= _snapshot(server, bench, instance, made, wanted)
        if wanted and all(one.place in missing for one in wanted):
            raise BackupError(
                f"no index of {instance.service} could be backed up",
                why=next(missing[one.place] for one in wanted),
                remedy="look at the server's log; red indices can't be backed up",
            )
        tree = _repository(bench, instance)
        stored = capture.tree(tree.scan(), tree.open)
        files = tree.facts(stored)
        # Only now: if anything failed before, the last good snapshot still exists.
        for name in _snapshots(server):
            if name != made:
                server.ask("DELETE", f"{REPOSITORY}/{quote(name, safe='')}")
        there = {one.place for one in server.sources()}
        again: dict[str, str] = {}
        held = [one for one in wanted if one.place not in missing]
        after = _looked_at(bench, server, held, again)
        # What was deleted meanwhile isn't missing.
        missing |= {place: why for place, why in again.items() if place in there}
        facts = stable_facts(
            merged(one for place, one in before.items() if place not in missing),
            merged(one for place, one in after.items() if place not in missing),
        )
        method = "a snapshot made by the server into its repository"
        if counted := [one.name for one in held if is_counted_only(before.get(one.place))]:
            method += f"; of {', '.join(counted)} the number of documents alone is compared"
        capture.note(
            method=method,
            versions={"elasticsearch": str(version)},
            restore_by_hand=(
                "# tree/ holds the repository; put its files below the server's path.repo, then",
                "# register it (PUT _snapshot/mmstack) and POST _snapshot/mmstack/NAME/_restore",
            ),
            facts=Facts(
                figures=facts.figures,
                items=facts.items,
                complete=facts.complete,
                bounds=facts.bounds,
                not_covered={**files.not_covered, **missing},
                excluded={**files.excluded, **excluded},
            ),
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Walk the repository; see ``BackupType.check``."""
        problems = structure_problems(artifact)
        names = {file.path.rpartition("/")[2] for file in artifact.files()}
        if "index.latest" not in names:
            problems.append("the repository has no index.latest: it holds no snapshot")
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Restore the repository, then the indices from it; see ``BackupType.restore``.

        A live index is replaced only after its backup was restored next to it and compared.
        """
        work: IndicesRestore | None = None
        try:
            server = ElasticsearchServer(instance)
            repository = _repository(bench, instance)
            server.ask("DELETE", REPOSITORY, missing_is_fine=True)
            try:
                repository.replace(artifact)
            except PartialRestoreError as error:
                # Attributes of its files mean nothing to the server.
                bench.tell(f"{error.what} ({error.why})")
            _register(server, instance)
            found = _snapshots(server)
            if not found:
                raise RestoreError(
                    f"{instance.service} finds no snapshot in what was put back",
                    remedy="verify the backup, then look at the server's log",
                )
            bench.tell(f"restoring snapshot {found[-1]}")
            work = IndicesRestore(bench, instance, server, artifact, found[-1])
            work.run()
        except (BackupError, RestoreError) as error:
            if work is None:
                # Only the repository was replaced, and no index.
                raise UntouchedError.of(error) from None
            if isinstance(error, RestoreError):
                raise
            raise RestoreError(error.what, why=error.why, remedy=error.remedy) from None
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read what a server holds; see ``BackupType.inspect``."""
        server = ElasticsearchServer(instance)
        left_out = like.left_out if like is not None else ()
        wanted = [
            one for one in server.sources() if not one.own and not is_below(one.place, left_out)
        ]
        if like is not None and FirstForm.is_of(like):
            return FirstForm.look(server, wanted)
        missing = {one.place: _CLOSED for one in wanted if one.closed}
        open_ones = [one for one in wanted if not one.closed]
        parts = _looked_at(bench, server, open_ones, missing)
        found = merged(parts.values())
        return Facts(figures=found.figures, items=found.items, not_covered=missing)


def _looked_at(
    bench: Workbench,
    server: ElasticsearchServer,
    sources: Iterable[Source],
    missing: dict[str, str],
) -> dict[str, Facts]:
    """Return the facts of each source; note in ``missing`` what can't be read."""
    found: dict[str, Facts] = {}
    for one in sources:
        try:
            found[one.place] = look_at(server, one, check=partial(_raise_if_cancelled, bench))
        except BackupError as error:
            missing[one.place] = "; ".join(filter(None, (error.what, error.why)))
    return found


def _raise_if_cancelled(bench: Workbench) -> None:
    if bench.cancel.is_set():
        raise CancelledError("the work on Elasticsearch was cancelled")


def _register(server: ElasticsearchServer, instance: Instance) -> None:
    settings = {"location": _location(instance)}
    server.ask("PUT", REPOSITORY, {"type": "fs", "settings": settings})


def _snapshots(server: ElasticsearchServer) -> list[str]:
    """Return the names of all snapshots in the repository, the oldest first."""
    found = server.ask("GET", f"{REPOSITORY}/*?sort=start_time")["snapshots"]
    return [str(one["snapshot"]) for one in found]


def _snapshot(
    server: ElasticsearchServer,
    bench: Workbench,
    instance: Instance,
    name: str,
    sources: Sequence[Source],
) -> dict[str, str]:
    """Make a snapshot and wait for it; return what is incomplete in it: place → why."""
    path = f"{REPOSITORY}/{name}"
    wanted = {
        # No pattern: the backup holds exactly what was found by name.
        "indices": [one.name for one in sources] or ["-*"],
        "include_global_state": False,
        # An index with missing shards doesn't stop the others.
        "partial": True,
    }
    server.ask("PUT", f"{path}?wait_for_completion=false", wanted)
    deadline = time.monotonic() + _DEADLINE
    while True:
        (found,) = server.ask("GET", path)["snapshots"]
        failures = found.get("failures") or []
        if found["state"] == "SUCCESS":
            return {}
        if found["state"] == "PARTIAL" and failures:
            return _incomplete(failures, sources)
        if found["state"] != "IN_PROGRESS" or time.monotonic() > deadline:
            server.ask("DELETE", path, missing_is_fine=True)
            raise BackupError(
                f"the snapshot of {instance.service} ended as {found['state']}",
                why=json.dumps(failures)[:300],
                remedy="look at the server's log; red indices can't be backed up",
            )
        if bench.cancel.wait(_POLL):
            server.ask("DELETE", path, missing_is_fine=True)
            raise CancelledError(f"the snapshot of {instance.service} was cancelled")


def _incomplete(failures: Iterable[Mapping[str, Any]], sources: Sequence[Source]) -> dict[str, str]:
    by_index = {name: one for one in sources for name in (one.name, *one.behind)}
    found: dict[str, str] = {}
    for failure in failures:
        index = str(failure.get("index", ""))
        source = by_index.get(index)
        place = source.place if source is not None else f"index/{index}"
        reason = str(failure.get("reason", ""))[:200]
        found[place] = f"shard {failure.get('shard_id', '?')} isn't in the snapshot: {reason}"
    return found


def _location(instance: Instance) -> str:
    path = instance.spec.environment.get(_PATH_REPO, "")
    if not path:
        raise BackupError(
            f"{instance.service} has no place for snapshots",
            why=f"{_PATH_REPO} isn't set",
            remedy="set it in the service's environment to a folder in one of its volumes",
        )
    return path


def _repository(bench: Workbench, instance: Instance) -> VolumeTree:
    """Return the repository's folder, which is in one of the service's volumes."""
    path = _location(instance)
    holding = [
        mount
        for mount in instance.definition.mounts
        if mount.volume is not None and path.startswith(f"{mount.target}/")
    ]
    if not holding:
        raise BackupError(
            f"the snapshots of {instance.service} stand in none of its volumes",
            why=f"{_PATH_REPO} is {path}",
            remedy="set it to a folder in one of the service's volumes",
        )
    mount = max(holding, key=lambda one: len(one.target))
    return VolumeTree(
        bench, instance, below=path.removeprefix(f"{mount.target}/"), only=[str(mount.volume)]
    )
