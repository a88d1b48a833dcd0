"""Qdrant's collections as their own snapshots, with aliases: vectors and payloads exactly."""

from __future__ import annotations

import hashlib
import json
import shlex
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, ClassVar, Literal, cast
from urllib.parse import quote

from mmstack_ops.adapters.backups.types.base import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.qdrant_server import QdrantServer, Snapshot
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.errors import ArtifactError, BackupError, CancelledError, RestoreError

_ALIASES = "aliases.json"
_JOURNAL = "qdrant-snapshot"
_INTENT = "qdrant-snapshot-begun"
_SAMPLE = 200
_BLOCK = 1 << 20
_POINT = "point "
_COUNT = "points of "


class QdrantCollection:
    """All collections of a server, or those the schema names."""

    method: ClassVar[str] = "qdrant"
    name: ClassVar[str] = "collection"
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store a snapshot of each collection; see ``BackupType.capture``."""
        server = QdrantServer.of(instance)
        _delete_leftovers(bench, instance, server)
        wanted = [one for one in server.collections() if _is_wanted(instance, one)]
        before = _look(server, wanted)
        for collection in wanted:
            self._store(bench, instance, server, collection, capture)
        aliases = {n: c for n, c in server.aliases().items() if c in wanted}
        with capture.payload(_ALIASES, "aliases") as sink:
            sink.write(json.dumps(aliases, sort_keys=True, indent=1).encode())
        capture.note(
            method="snapshots made by the server, one for each collection",
            versions={"qdrant": server.version()},
            restore_by_hand=_by_hand(wanted, aliases),
            facts=_stable(before, _look(server, wanted, like=before), aliases),
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Walk each snapshot, which is a tar; see ``BackupType.check``."""
        problems: list[str] = []
        for payload in artifact.manifest.with_role("dump"):
            try:
                with artifact.read(payload) as source:
                    count = _members(source)
                    while source.read(_BLOCK):
                        pass
            except (tarfile.TarError, ArtifactError) as error:
                problems.append(f"{payload.name}: it is no whole tar ({error})")
                continue
            if count == 0:
                problems.append(f"{payload.name}: the snapshot is empty")
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Recover every collection; see ``BackupType.restore``.

        Collections that the schema includes and the backup doesn't hold are deleted: the
        server then holds what it held.
        """
        server = QdrantServer.of(instance)
        held = {p.attributes["collection"]: p for p in artifact.manifest.with_role("dump")}
        try:
            for extra in server.collections():
                if extra not in held and _is_wanted(instance, extra):
                    bench.tell(f"deleting collection {extra}, which the backup doesn't hold")
                    server.delete_collection(extra)
            for collection, payload in held.items():
                _refuse_cancelled(bench)
                bench.tell(f"recovering collection {collection}")
                with artifact.read(payload) as source:
                    checksum = payload.attributes.get("checksum", "")
                    server.recover(collection, source, payload.plain_bytes, checksum)
            kept = {n: c for n, c in server.aliases().items() if not _is_wanted(instance, c)}
            server.replace_aliases({**kept, **_aliases(artifact)})
        except BackupError as error:
            raise RestoreError(error.what, why=error.why, remedy=error.remedy) from None
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:  # noqa: ARG002 - nothing runs
        """Count and sample what a server holds; see ``BackupType.inspect``."""
        server = QdrantServer.of(instance)
        wanted = [one for one in server.collections() if _is_wanted(instance, one)]
        found = _look(server, wanted, like=like)
        aliases = {n: c for n, c in server.aliases().items() if c in wanted}
        return Facts(
            figures={**found.figures, "aliases": len(aliases)},
            items={**found.items, **_alias_items(aliases)},
            complete=False,
        )

    def _store(
        self,
        bench: Workbench,
        instance: Instance,
        server: QdrantServer,
        collection: str,
        capture: Capture,
    ) -> None:
        bench.tell(f"snapshot of collection {collection}")
        failure: BaseException | None = None
        with ExitStack() as records:
            # Its name is known only when it is made: a kill before that leaves it nameless.
            known = json.dumps([one.name for one in server.snapshots(collection)])
            intent = {"collection": collection, "known": known}
            with bench.journal(f"{_INTENT} {instance.service}", intent):
                made = server.create_snapshot(collection, give_up=lambda: _refuse_cancelled(bench))
                undo = {"collection": collection, "snapshot": made.name}
                records.enter_context(bench.journal(f"{_JOURNAL} {instance.service}", undo))
            try:
                self._download(bench, server, collection, made, capture)
            except BaseException as error:
                # The server's disk first: what it made for us mustn't stay there.
                failure = error
            server.delete_snapshot(collection, made.name)
        if failure is not None:
            raise failure

    def _download(
        self,
        bench: Workbench,
        server: QdrantServer,
        collection: str,
        made: Snapshot,
        capture: Capture,
    ) -> None:
        digest, count = hashlib.sha256(), 0
        attributes = {"collection": collection, "checksum": made.checksum}
        name = f"{quote(collection, safe='')}.snapshot"
        with (
            capture.payload(name, "dump", attributes=attributes) as sink,
            server.download(collection, made.name) as blocks,
        ):
            for block in blocks:
                _refuse_cancelled(bench)
                digest.update(block)
                count += len(block)
                sink.write(block)
            if count != made.size or (made.checksum and digest.hexdigest() != made.checksum):
                raise BackupError(
                    f"the snapshot of {collection} didn't arrive as it was made",
                    why=f"{count} of {made.size} bytes, or another SHA-256",
                    remedy="take the backup again",
                )


def _is_wanted(instance: Instance, collection: str) -> bool:
    backup = instance.definition.backup
    included = not backup.include or any(fnmatchcase(collection, p) for p in backup.include)
    return included and not any(fnmatchcase(collection, p) for p in backup.exclude)


def _look(server: QdrantServer, collections: Iterable[str], like: Facts | None = None) -> Facts:
    """Count all points, and record some with their vectors and payloads."""
    figures = {"collections": 0, "points": 0}
    items: dict[str, str] = {}
    for collection in collections:
        count = server.count(collection)
        figures["collections"] += 1
        figures["points"] += count
        figures[f"{_COUNT}{collection}"] = count
        parameters = json.dumps(server.parameters(collection), sort_keys=True)
        items[f"collection {collection}"] = _digest(parameters)
        points = (
            server.first_points(collection, _SAMPLE)
            if like is None
            else server.points(collection, _ids_in(like, collection))
        )
        for point in points:
            content = json.dumps([point.get("vector"), point.get("payload")], sort_keys=True)
            items[f"{_POINT}{collection} {json.dumps(point['id'])}"] = _digest(content)
    return Facts(figures=figures, items=items, complete=False)


def _ids_in(facts: Facts, collection: str) -> list[Any]:
    start = f"{_POINT}{collection} "
    return [json.loads(name[len(start) :]) for name in facts.items if name.startswith(start)]


def _stable(before: Facts, after: Facts, aliases: Mapping[str, str]) -> Facts:
    """Return what was the same before and after the snapshots; bounds for what moved."""
    same = {n: d for n, d in before.items.items() if after.items.get(n) == d}
    figures = {n: c for n, c in before.figures.items() if after.figures.get(n) == c}
    bounds = {
        name: (min(count, after.figures[name]), max(count, after.figures[name]))
        for name, count in before.figures.items()
        if name not in figures and name in after.figures
    }
    return Facts(
        figures={**figures, "aliases": len(aliases)},
        items={**same, **_alias_items(aliases)},
        complete=False,
        bounds=bounds,
    )


def _alias_items(aliases: Mapping[str, str]) -> dict[str, str]:
    return {f"alias {name}": collection for name, collection in aliases.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _aliases(artifact: OpenArtifact) -> dict[str, str]:
    (payload,) = artifact.manifest.with_role("aliases")
    with artifact.read(payload) as source:
        found: dict[str, str] = json.loads(source.read())
    return found


def _members(source: BinaryIO) -> int:
    with tarfile.open(fileobj=cast("Any", source), mode="r|") as archive:
        return sum(1 for _ in archive)


def _delete_leftovers(bench: Workbench, instance: Instance, server: QdrantServer) -> None:
    """Delete snapshots that a killed backup left on the server, as far as they are ours."""
    for record in bench.leftovers(f"{_JOURNAL} {instance.service}"):
        bench.tell(f"deleting the snapshot {record['snapshot']} that a killed backup left")
        server.delete_snapshot(record["collection"], record["snapshot"])
    for record in bench.leftovers(f"{_INTENT} {instance.service}"):
        collection, known = record["collection"], json.loads(record["known"])
        if collection not in server.collections():
            continue
        new = [one.name for one in server.snapshots(collection) if one.name not in known]
        if new:
            # Somebody else may have made one meanwhile: only an operator can tell them apart.
            bench.tell(
                f"a backup was killed while {instance.service} made a snapshot of {collection};"
                f" delete those of these that you don't know: {', '.join(new)}"
            )


def _refuse_cancelled(bench: Workbench) -> None:
    if bench.cancel.is_set():
        raise CancelledError("the work on Qdrant's collections was cancelled")


def _by_hand(collections: Iterable[str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    lines = ["# URL is the server's address, API_KEY its key"]
    for collection in collections:
        name = quote(collection, safe="")
        lines.append(
            f'curl -fsS -X POST -H "api-key: $API_KEY" -F "snapshot=@{name}.snapshot"'
            f' "$URL/collections/{name}/snapshots/upload?priority=snapshot&wait=true"'
        )
    if aliases:
        actions = [
            {"create_alias": {"alias_name": alias, "collection_name": collection}}
            for alias, collection in sorted(aliases.items())
        ]
        lines.append(
            'curl -fsS -X POST -H "api-key: $API_KEY" -H "content-type: application/json"'
            f' -d {shlex.quote(json.dumps({"actions": actions}))} "$URL/collections/aliases"'
        )
    return tuple(lines)
