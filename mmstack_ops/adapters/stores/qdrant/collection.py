"""Back up Qdrant collections as snapshots, with aliases and exact vectors and payloads."""

from __future__ import annotations

import hashlib
import json
import shlex
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, BinaryIO, ClassVar, Literal, cast
from urllib.parse import quote

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.instance_records import leftovers, record_key
from mmstack_ops.adapters.stores.qdrant.facts import (
    FirstForm,
    alias_name,
    collection_name,
    is_sample,
    look_at,
    merged,
)
from mmstack_ops.adapters.stores.qdrant.points import export_points, export_problem
from mmstack_ops.adapters.stores.qdrant.restore import (
    COLLECTION,
    FORM,
    POINTS,
    SETTINGS,
    CollectionsRestore,
    delete_copies,
)
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer, Snapshot
from mmstack_ops.domain.backups.facts import Facts, is_below
from mmstack_ops.domain.backups.manifest import Payload
from mmstack_ops.domain.backups.stable_facts import stable_facts
from mmstack_ops.domain.errors import ArtifactError, BackupError, CancelledError, RestoreError

_ALIASES = "aliases.json"
_JOURNAL = "qdrant-snapshot"
_INTENT = "qdrant-snapshot-begun"
_BLOCK = 1 << 20
# A file name may have 255 bytes, of which compression and encryption use some.
_LONGEST = 200
_EXCLUDED = "the service's backup settings leave it out"


class QdrantCollection:
    """All collections of a server, or those the schema names."""

    method: ClassVar[str] = "qdrant"
    name: ClassVar[str] = "collection"
    tree: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store a snapshot of each collection, or its points; see ``BackupType.capture``."""
        server = QdrantServer.of(instance)
        check = partial(_raise_if_cancelled, bench)
        delete_copies(bench, instance, server)
        _delete_leftovers(bench, instance, server)
        # Everything on the server, whether or not the schema includes it.
        there, aliases = server.collections(), server.aliases()
        excluded = {collection_name(c): _EXCLUDED for c in there if not _is_wanted(instance, c)}
        wanted = [one for one in there if _is_wanted(instance, one)]
        missing: dict[str, str] = {}
        before: dict[str, Facts] = {}
        files: dict[str, str] = {}
        exported: list[str] = []
        settings: dict[str, Any] = {}
        for collection in wanted:
            check()
            try:
                settings[collection] = server.info(collection)
                before[collection] = look_at(server, collection, check=check)
                files[collection] = self._store(bench, instance, server, collection, capture)
                if files[collection].endswith(POINTS):
                    exported.append(collection)
                if made := server.snapshots(collection):
                    shown = f"{len(made)} snapshots that somebody made: they aren't taken"
                    excluded[f"snapshots/{collection}"] = shown
            except BackupError as error:
                if collection in server.collections():
                    bench.tell(f"collection {collection} isn't in the backup: {_why(error)}")
                    missing[collection_name(collection)] = _why(error)
                before.pop(collection, None)
        if missing and not files:
            raise BackupError(
                f"no collection of {instance.service} could be backed up",
                why=next(iter(missing.values())),
                remedy=f"look at its log: `mmstack logs {instance.service}`",
            )
        held = {n: c for n, c in aliases.items() if c in files}
        for name, collection in aliases.items():
            if collection_name(collection) in excluded:
                excluded[alias_name(name)] = f"its collection {collection} is left out"
            elif name not in held:
                missing[alias_name(name)] = f"its collection {collection} isn't in the backup"
        with capture.payload(_ALIASES, "aliases") as sink:
            sink.write(json.dumps(held, sort_keys=True, indent=1).encode())
        with capture.payload(SETTINGS, "globals") as sink:
            kept = {name: one for name, one in settings.items() if name in files}
            sink.write(json.dumps(kept, sort_keys=True, indent=1).encode())
        after = self._again(server, before, check, missing)
        facts = stable_facts(merged(before.values(), held), merged(after, held))
        method = "snapshots made by the server, one for each collection"
        sampled = [one for one, facts in before.items() if is_sample(facts)]
        if sampled:
            method += f"; a sample of the points of {', '.join(sampled)} is compared"
        if exported:
            method += f"; the points, over a while, of {', '.join(exported)}"
        capture.note(
            method=method,
            versions={"qdrant": server.version()},
            restore_by_hand=_by_hand(files, held),
            facts=Facts(
                figures=facts.figures,
                items=facts.items,
                complete=facts.complete,
                bounds=facts.bounds,
                not_covered=missing,
                excluded=excluded,
            ),
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Read each snapshot, which is a tar, and each export; see ``BackupType.check``."""
        problems: list[str] = []
        for payload in artifact.manifest.with_role("dump"):
            problem = _problem(artifact, payload)
            if problem is not None:
                problems.append(f"{payload.name}: {problem}")
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Recover every collection; see ``BackupType.restore``.

        A live collection is replaced only after its backup was loaded next to it and compared.
        Collections that the schema includes and the backup doesn't hold are deleted, except
        those that it lists as left out: the server then holds what it held at backup time.
        """
        server = QdrantServer.of(instance)
        work = CollectionsRestore(
            bench, instance, server, artifact, partial(_is_wanted, instance), _aliases(artifact)
        )
        try:
            work.run()
        except BackupError as error:
            raise RestoreError(error.what, why=error.why, remedy=error.remedy) from None
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Read what a server holds; see ``BackupType.inspect``."""
        server = QdrantServer.of(instance)
        there = server.collections()
        wanted = [one for one in there if _is_wanted(instance, one)]
        if like is not None and FirstForm.is_of(like):
            return FirstForm.look(server, wanted, like)
        left_out = like.left_out if like is not None else ()
        wanted = [one for one in wanted if not is_below(collection_name(one), left_out)]
        parts: list[Facts] = []
        missing: dict[str, str] = {}
        for collection in wanted:
            check = partial(_raise_if_cancelled, bench)
            try:
                parts.append(look_at(server, collection, check=check, like=like))
            except BackupError as error:
                missing[collection_name(collection)] = _why(error)
        aliases = {
            name: collection
            for name, collection in server.aliases().items()
            if collection in wanted and not is_below(alias_name(name), left_out)
        }
        found = merged(parts, aliases)
        return Facts(figures=found.figures, items=found.items, not_covered=missing)

    def _again(
        self,
        server: QdrantServer,
        before: Mapping[str, Facts],
        check: Callable[[], None],
        missing: dict[str, str],
    ) -> list[Facts]:
        """Read the same collections again; note those that can no longer be read."""
        found: list[Facts] = []
        for collection, facts in before.items():
            try:
                found.append(look_at(server, collection, check=check, like=facts))
            except BackupError as error:
                # A collection that was deleted meanwhile isn't missing.
                if collection in server.collections():
                    missing[collection_name(collection)] = _why(error)
        return found

    def _store(
        self,
        bench: Workbench,
        instance: Instance,
        server: QdrantServer,
        collection: str,
        capture: Capture,
    ) -> str:
        """Store one collection; return the name of the payload."""
        name = f"{_file_name(collection)}.snapshot"
        try:
            self._store_snapshot(bench, instance, server, collection, capture, name)
        except BackupError as error:
            bench.tell(
                f"no snapshot of {collection} could be made ({_why(error)}): its points are"
                " exported"
            )
        else:
            return name
        name = f"{_file_name(collection)}.{POINTS}"
        attributes = {COLLECTION: collection, FORM: POINTS}
        with capture.payload(name, "dump", attributes=attributes) as sink:
            export_points(server, collection, sink, check=partial(_raise_if_cancelled, bench))
        return name

    def _store_snapshot(
        self,
        bench: Workbench,
        instance: Instance,
        server: QdrantServer,
        collection: str,
        capture: Capture,
        name: str,
    ) -> None:
        bench.tell(f"snapshot of collection {collection}")
        failure: BaseException | None = None
        with ExitStack() as records:
            # Its name is known only once it is made: after a kill before that, it is unknown.
            known = json.dumps([one.name for one in server.snapshots(collection)])
            intent = {"collection": collection, "known": known}
            with bench.journal(record_key(_INTENT, instance), intent):
                try:
                    made = server.create_snapshot(
                        collection, give_up=lambda: _raise_if_cancelled(bench)
                    )
                    undo = {"collection": collection, "snapshot": made.name}
                    records.enter_context(bench.journal(record_key(_JOURNAL, instance), undo))
                except BackupError as error:
                    # The server reported that there is none, so that none is searched for later.
                    failure = error
            if failure is None:
                try:
                    self._download(bench, server, collection, made, capture, name)
                except BaseException as error:
                    # Clean up the server first: the snapshot made for us must not stay there.
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
        name: str,
    ) -> None:
        digest, count = hashlib.sha256(), 0
        attributes = {COLLECTION: collection, "checksum": made.checksum}
        with (
            capture.payload(name, "dump", attributes=attributes) as sink,
            server.download(collection, made.name) as blocks,
        ):
            for block in blocks:
                _raise_if_cancelled(bench)
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


def _why(error: BackupError) -> str:
    return "; ".join(filter(None, (error.what, error.why)))


def _file_name(collection: str) -> str:
    """Return a file name for a collection: it may hold fewer characters, and fewer bytes."""
    # A file whose name begins with a dot is hidden.
    escaped = quote(collection, safe="").replace(".", "%2E")
    if len(escaped) <= _LONGEST:
        return escaped
    digest = hashlib.sha256(collection.encode()).hexdigest()[:32]
    return f"{escaped[: _LONGEST - len(digest) - 1]}-{digest}"


def _problem(artifact: OpenArtifact, payload: Payload) -> str | None:
    try:
        with artifact.read(payload) as source:
            if payload.attributes.get(FORM) == POINTS:
                return export_problem(source)
            count = _members(source)
            while source.read(_BLOCK):
                pass
    except (tarfile.TarError, ArtifactError) as error:
        return f"it isn't whole ({error})"
    return None if count else "the snapshot is empty"


def _aliases(artifact: OpenArtifact) -> dict[str, str]:
    (payload,) = artifact.manifest.with_role("aliases")
    with artifact.read(payload) as source:
        found: dict[str, str] = json.loads(source.read())
    return found


def _members(source: BinaryIO) -> int:
    with tarfile.open(fileobj=cast("Any", source), mode="r|") as archive:
        return sum(1 for _ in archive)


def _delete_leftovers(bench: Workbench, instance: Instance, server: QdrantServer) -> None:
    """Delete snapshots that a killed backup left on the server, if they are known to be ours."""
    for record in leftovers(bench, _JOURNAL, instance):
        bench.tell(f"deleting the snapshot {record['snapshot']} that a killed backup left")
        server.delete_snapshot(record["collection"], record["snapshot"])
    for record in leftovers(bench, _INTENT, instance):
        collection, known = record["collection"], json.loads(record["known"])
        if collection not in server.collections():
            continue
        new = [one.name for one in server.snapshots(collection) if one.name not in known]
        if new:
            # A user may have made one meanwhile: only an operator can tell them apart.
            bench.tell(
                f"a backup was killed while {instance.service} made a snapshot of {collection};"
                f" delete those of these that you don't know: {', '.join(new)}"
            )


def _raise_if_cancelled(bench: Workbench) -> None:
    if bench.cancel.is_set():
        raise CancelledError("the work on Qdrant's collections was cancelled")


def _by_hand(files: Mapping[str, str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    lines = [
        "# URL is the server's address, API_KEY its key",
        f"# {SETTINGS} says which settings and indexes each collection had",
    ]
    for collection, file in files.items():
        name = quote(collection, safe="")
        if file.endswith(POINTS):
            lines += [
                f"# {file}: line 1 holds the settings of the collection, then one point a line:"
                f" create it (PUT $URL/collections/{name}), then PUT the points in batches:",
                f"sed '1d;$d' {shlex.quote(file)} | split -l 100 --filter='jq -s \"{{points: .}}\""
                ' | curl -fsS -X PUT -H "api-key: $API_KEY" -H "content-type: application/json"'
                f""" --data-binary @- "$URL/collections/{name}/points?wait=true"'""",
            ]
            continue
        lines.append(
            f'curl -fsS -X POST -H "api-key: $API_KEY" -F "snapshot=@{file}"'
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
