"""Back up Prometheus with its own snapshots: hard links to blocks that never change."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, Workbench
from mmstack_ops.adapters.stores.instance_records import leftovers, record_key
from mmstack_ops.adapters.stores.volumes.full import VolumesFull, by_hand
from mmstack_ops.adapters.stores.volumes.trees import VolumeTree
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError

PORT = 9090
# A snapshot writes what is still in memory, which takes minutes on a large server.
_SNAPSHOT_SECONDS = 900.0
_OK, _NO_CONTENT = 200, 204
# A server names a snapshot when the request arrives, before it starts to work.
_ANSWERED_WITHIN = timedelta(seconds=10)
_FOLDER = "snapshots"
# The name of a block's folder is a ULID.
_BLOCK = re.compile("[0-9A-HJKMNP-TV-Z]{26}")
_JOURNAL = "prometheus-snapshot"
_ASKED = "prometheus-snapshot-asked-for"


class PrometheusFull(VolumesFull):
    """All blocks and what isn't in a block yet, at one moment, while the server runs."""

    method: ClassVar[str] = "prometheus"
    needs_running: ClassVar[bool] = True

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store a snapshot; see ``BackupType.capture``."""
        _delete_leftovers(bench, instance)
        version = ask(instance, "GET", "/api/v1/status/buildinfo")["version"]
        bench.tell(f"snapshot of {instance.service}")
        before = _live_blocks(bench, instance)
        failure: BaseException | None = None
        # Its name is known only once it exists: until then the journal holds the names of the
        # others, and the time of the request.
        asked = {
            "known": json.dumps(sorted(_snapshots(bench, instance))),
            "at": datetime.now(UTC).isoformat(),
        }
        with bench.journal(record_key(_ASKED, instance), asked):
            made = ask(instance, "POST", "/api/v1/admin/tsdb/snapshot?skip_head=false")["name"]
            with bench.journal(record_key(_JOURNAL, instance), {"snapshot": made}):
                try:
                    tree = VolumeTree(bench, instance, below=f"{_FOLDER}/{made}")
                    stored = capture.tree(_unversioned(tree.scan()), tree.open)
                    facts = tree.facts(stored)
                    missing = _left_by_the_server(bench, instance, before, facts.items)
                except BaseException as error:
                    # Clean up the server first: the snapshot keeps old blocks from being deleted.
                    failure = error
                _delete(bench, instance, made)
        if failure is not None:
            raise failure
        capture.note(
            method="a snapshot made by the server, what is only in memory included",
            versions={"prometheus": str(version)},
            restore_by_hand=by_hand(tree),
            # A server that starts adds files of its own, such as its write-ahead log.
            facts=replace(
                facts,
                complete=False,
                figures={"blocks": _blocks(facts.items)},
                not_covered={**facts.not_covered, **missing},
            ),
        )

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read the blocks; see ``BackupType.inspect``."""
        tree = VolumeTree(bench, instance)
        found = tree.look(like)
        paths = found.items if like is None else {p: "" for p in found.items if p in like.items}
        return replace(found, complete=False, figures={"blocks": _blocks(paths)})


def _unversioned(files: Iterator[TreeFile]) -> Iterator[TreeFile]:
    """Yield files without what differs between hard links to one block: blocks never change."""
    for file in files:
        # Folders of a snapshot are always new; its files have the times of the block's files.
        yield replace(file, version="", mtime_ns=0 if file.kind == "dir" else file.mtime_ns)


def _blocks(paths: Any) -> int:
    return sum(path.endswith("/meta.json") for path in paths)


def _live_blocks(bench: Workbench, instance: Instance) -> set[str]:
    """Return the blocks on the server's volume, including those that the server can't read."""
    found: set[str] = set()
    for root in VolumeTree(bench, instance).roots:
        with root.open() as folder:
            found |= {
                f"{root.name}/{name}"
                for name, seen in folder.entries()
                if _BLOCK.fullmatch(name) and stat.S_ISDIR(seen.st_mode)
            }
    return found


def _left_by_the_server(
    bench: Workbench, instance: Instance, before: set[str], files: Iterable[str]
) -> dict[str, str]:
    """Return what is on the volume and isn't in the snapshot: name → why."""
    held = {"/".join(path.split("/")[:2]) for path in files}
    # A block that was compacted or created meanwhile is in the snapshot in another form.
    there = before & _live_blocks(bench, instance)
    why = "the server left this block out of its snapshot: it can't read it, see its log"
    found = dict.fromkeys(sorted(there - held), why)
    for root in VolumeTree(bench, instance).roots:
        with suppress(FileNotFoundError), root.open() as folder:
            segments = folder.entries("wbl")
            if not any(stat.S_ISREG(seen.st_mode) and seen.st_size for _, seen in segments):
                continue
            found[f"{root.name}/wbl"] = "samples that came out of order are in no snapshot yet"
    return found


def _delete_leftovers(bench: Workbench, instance: Instance) -> None:
    """Delete snapshots that killed backups left, by name or by the time of the request.

    A snapshot that an operator made at another time isn't deleted, even if the interrupted
    request never reached the server.
    """
    for record in leftovers(bench, _JOURNAL, instance):
        bench.tell(f"deleting snapshot {record['snapshot']} that a killed backup left")
        _delete(bench, instance, record["snapshot"])
    for record in leftovers(bench, _ASKED, instance):
        at = datetime.fromisoformat(record["at"])
        there = _snapshots(bench, instance) - set(json.loads(record["known"]))
        new = sorted(name for name in there if _is_of(name, at))
        if len(new) == 1:
            bench.tell(f"deleting snapshot {new[0]} that a killed backup left")
            _delete(bench, instance, new[0])
        elif new:
            # Only one of them is ours: an operator has to decide which.
            bench.tell(
                f"{instance.service} has snapshots one of which a killed backup left:"
                f" {', '.join(new)}; delete it by hand, they keep old blocks on the disk"
            )


def _is_of(name: str, asked_at: datetime) -> bool:
    """Return whether a snapshot was started when one was requested.

    Its name begins with the time, to the second: ``20171210T211224Z-2be650b6d019eb54``
    (https://prometheus.io/docs/prometheus/latest/querying/api/#snapshot).
    """
    try:
        begun = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False  # The server didn't choose this name.
    return timedelta(seconds=-1) <= begun - asked_at <= _ANSWERED_WITHIN


def _snapshots(bench: Workbench, instance: Instance) -> set[str]:
    """Return the names of the snapshots on the server's volume."""
    found: set[str] = set()
    for root in VolumeTree(bench, instance, below=_FOLDER).roots:
        with suppress(FileNotFoundError), root.open() as folder:
            found |= {name for name, seen in folder.entries() if stat.S_ISDIR(seen.st_mode)}
    return found


def _delete(bench: Workbench, instance: Instance, snapshot: str) -> None:
    """Delete a snapshot's folder if it exists."""
    if not snapshot or "/" in snapshot or snapshot.startswith("."):
        raise BackupError(
            f"{instance.service} calls a snapshot {snapshot!r}",
            why="that isn't the name of a folder",
            remedy="look at its log",
        )
    for root in VolumeTree(bench, instance, below=_FOLDER).roots:
        with suppress(FileNotFoundError), root.open() as folder:
            folder.remove(snapshot)


def ask(instance: Instance, method: str, path: str) -> Any:
    """Send a request to a Prometheus server; return the data of its answer (None if it has none).

    Raises:
        BackupError: the request failed; it holds the server's message.
    """
    import requests

    url = f"http://{instance.address}:{instance.definition.server_port('http', PORT)}{path}"
    session = requests.Session()
    # The address is the container's: no proxy of this host leads there.
    session.trust_env = False
    try:
        with session, session.request(method, url, timeout=(10, _SNAPSHOT_SECONDS)) as response:
            if response.status_code == _NO_CONTENT:
                return None
            status, content = response.status_code, response.content
    except requests.RequestException as error:
        raise _refused(instance, path, type(error).__name__) from None
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError:
        # A proxy in front of the server, or a server that is starting, answers in plain text.
        raise _refused(instance, path, f"status {status}, without JSON") from None
    if status != _OK or answer.get("status") != "success":
        raise _refused(instance, path, str(answer.get("error", f"status {status}")))
    return answer["data"]


def _refused(instance: Instance, path: str, why: str) -> BackupError:
    return BackupError(
        f"{instance.service} refused {path.partition('?')[0]}",
        why=why,
        remedy="its admin API needs --web.enable-admin-api; look at its log:"
        f" `mmstack logs {instance.service}`",
    )
