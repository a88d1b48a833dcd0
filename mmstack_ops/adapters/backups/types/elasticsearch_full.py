"""Elasticsearch through its snapshot API, and the repository folder as an incremental tree.

Tested against a scripted server only: docs/backups.md says what that means.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/snapshot-restore.html
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from mmstack_ops.adapters.backups.types.base import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.credentials import password_from
from mmstack_ops.adapters.backups.types.volume_trees import VolumeTree, structure_problems
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import BackupError, CancelledError, RestoreError

_PORT = 9200
_USER = "elastic"
_REPOSITORY = "/_snapshot/mmstack"
_PATH_REPO = "ES_SETTING_PATH_REPO"
# What people and Logstash wrote; Elasticsearch's own indices begin with a dot and belong to
# the version that made them.
_INDICES = "*,-.*"
_DEADLINE = 6 * 3600.0
_POLL = 1.0


class ElasticsearchFull:
    """All indices that aren't Elasticsearch's own, at one moment, while the server works."""

    method: ClassVar[str] = "elasticsearch"
    name: ClassVar[str] = "full"
    tree: ClassVar[bool] = True
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store a snapshot; see ``BackupType.capture``."""
        server = ElasticsearchServer(instance)
        version = server.ask("GET", "/")["version"]["number"]
        before = server.counts()
        server.register()
        made = f"mmstack-{int(time.time())}-{secrets.token_hex(4)}"
        bench.tell(f"snapshot of {instance.service}")
        server.snapshot(bench, made)
        tree = _repository(bench, instance)
        capture.tree(tree.scan(), tree.open)
        # Only now: whatever went wrong before, the last good snapshot is still there.
        for name in server.snapshots():
            if name != made:
                server.ask("DELETE", f"{_REPOSITORY}/{quote(name, safe='')}")
        after = server.counts()
        same = {index: count for index, count in before.items() if after.get(index) == count}
        capture.note(
            method="a snapshot made by the server into its repository",
            versions={"elasticsearch": str(version)},
            restore_by_hand=(
                "# tree/ holds the repository; put its files below the server's path.repo, then",
                "# register it (PUT _snapshot/mmstack) and POST _snapshot/mmstack/NAME/_restore",
            ),
            facts=Facts(
                figures={"indices": len(before)} if len(before) == len(after) else {},
                items={f"index {index}": f"{count} documents" for index, count in same.items()},
                complete=False,
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
        """Put the repository back and restore from it; see ``BackupType.restore``."""
        try:
            server = ElasticsearchServer(instance)
            repository = _repository(bench, instance)
            server.ask("DELETE", _REPOSITORY, missing_is_fine=True)
            repository.replace(artifact)
            server.register()
            found = server.snapshots()
            if not found:
                raise RestoreError(
                    f"{instance.service} finds no snapshot in what was put back",
                    remedy="verify the backup, then look at the server's log",
                )
            for index in server.counts():
                server.ask("DELETE", f"/{quote(index, safe='')}")
            bench.tell(f"restoring snapshot {found[-1]}")
            answer = server.ask(
                "POST",
                f"{_REPOSITORY}/{quote(found[-1], safe='')}/_restore?wait_for_completion=true",
                {"indices": _INDICES, "include_global_state": False},
                within=_DEADLINE,
            )
            failed = answer.get("snapshot", {}).get("shards", {}).get("failed", 0)
            if failed:
                raise RestoreError(
                    f"{failed} shards of {instance.service} weren't restored",
                    remedy="look at the server's log",
                )
        except BackupError as error:
            raise RestoreError(error.what, why=error.why, remedy=error.remedy) from None
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:  # noqa: ARG002 - all is counted
        """Count documents; see ``BackupType.inspect``."""
        counts = ElasticsearchServer(instance).counts()
        return Facts(
            figures={"indices": len(counts)},
            items={f"index {index}": f"{count} documents" for index, count in counts.items()},
            complete=False,
        )


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
    """Return the repository's folder, which stands in one of the service's volumes."""
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


class ElasticsearchServer:
    """One server's API, as far as backups and retention need it."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._url = f"http://{instance.address}:{instance.definition.server_port('http', _PORT)}"
        password = password_from(instance, "ELASTIC_PASSWORD")
        self._auth = (_USER, password) if password else None

    def register(self) -> None:
        """Register the repository of our snapshots."""
        settings = {"location": _location(self._instance)}
        self.ask("PUT", _REPOSITORY, {"type": "fs", "settings": settings})

    def snapshots(self) -> list[str]:
        """Return the names of all snapshots in the repository, the oldest first."""
        found = self.ask("GET", f"{_REPOSITORY}/*?sort=start_time")["snapshots"]
        return [str(one["snapshot"]) for one in found]

    def counts(self) -> dict[str, int]:
        """Return index → documents."""
        found = self.ask("GET", f"/_cat/indices/{quote(_INDICES)}?format=json&h=index,docs.count")
        return {str(one["index"]): int(one["docs.count"] or 0) for one in found}

    def snapshot(self, bench: Workbench, name: str) -> None:
        """Make a snapshot; wait until it is whole."""
        path = f"{_REPOSITORY}/{name}"
        wanted = {"indices": _INDICES, "include_global_state": False}
        self.ask("PUT", f"{path}?wait_for_completion=false", wanted)
        deadline = time.monotonic() + _DEADLINE
        while True:
            (found,) = self.ask("GET", path)["snapshots"]
            if found["state"] == "SUCCESS":
                return
            if found["state"] != "IN_PROGRESS" or time.monotonic() > deadline:
                self.ask("DELETE", path, missing_is_fine=True)
                raise BackupError(
                    f"the snapshot of {self._instance.service} ended as {found['state']}",
                    why=json.dumps(found.get("failures", ""))[:300],
                    remedy="look at the server's log; red indices can't be backed up",
                )
            if bench.cancel.wait(_POLL):
                self.ask("DELETE", path, missing_is_fine=True)
                raise CancelledError(f"the snapshot of {self._instance.service} was cancelled")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        within: float = 60.0,
        missing_is_fine: bool = False,
    ) -> Any:
        """Send a request; return its JSON.

        Raises:
            BackupError: what the server said.
        """
        import requests

        session = requests.Session()
        # The address is the container's: no proxy and no ~/.netrc of this machine matter.
        session.trust_env = False
        doing = f"{method} {path.partition('?')[0]}"
        try:
            with (
                session,
                session.request(
                    method, self._url + path, json=body, auth=self._auth, timeout=(10, within)
                ) as response,
            ):
                if response.ok:
                    return response.json() if response.content else {}
                if missing_is_fine and response.status_code == 404:
                    return {}
                why = f"status {response.status_code}: {response.text[:300]}"
        except (requests.RequestException, ValueError) as error:
            why = type(error).__name__
        raise BackupError(
            f"{self._instance.service} refused {doing}",
            why=why,
            remedy=f"look at its log: `mmstack logs {self._instance.service}`",
        )
