"""Back up and restore buckets: objects with their attributes, and the buckets' settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

from mmstack_ops.adapters.stores.backup_type import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.s3 import facts as s3_facts
from mmstack_ops.adapters.stores.s3.attributes import lacks
from mmstack_ops.adapters.stores.s3.client import s3_client
from mmstack_ops.adapters.stores.s3.facts import (
    as_recorded,
    content_marks,
    found_facts,
    is_left_out,
    item_names,
    stable_facts,
)
from mmstack_ops.adapters.stores.s3.inventory import (
    Inventory,
    bucket_item,
    object_item,
    version_item,
)
from mmstack_ops.adapters.stores.s3.objects import Objects
from mmstack_ops.adapters.stores.s3.settings import (
    FIRST_FORMAT,
    create_bucket,
    prepare_bucket,
    write_settings,
)
from mmstack_ops.adapters.stores.s3.upload import Uploads
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    PartialRestoreError,
    RestoreError,
)

_BUCKETS = "buckets.json"
_BLOCK = 1 << 20
One = TypeVar("One")


class S3Bucket:
    """All buckets of a store, or those that the schema names, as one incremental tree."""

    method: ClassVar[str] = "s3"
    name: ClassVar[str] = "bucket"
    tree: ClassVar[bool] = True
    needs_running: ClassVar[bool] = True
    needs_stop: ClassVar[bool] = False
    drilled_in: ClassVar[Literal["server", "files"]] = "server"

    def capture(self, bench: Workbench, instance: Instance, capture: Capture) -> None:
        """Store objects and settings; see ``BackupType.capture``."""
        with _store_errors(instance, BackupError):
            client = s3_client(instance)
            inventory = Inventory.of(client, instance)
            objects = Objects(client, inventory.wanted)
            before, histories = inventory.listed(objects)
            with capture.payload(_BUCKETS, "files") as sink:
                sink.write(json.dumps(inventory.document(histories), default=str).encode())
            bench.tell(f"{len(before)} objects in {len(objects.buckets)} buckets")
            seen: dict[str, TreeFile] = {}
            capture.tree(_noting(_cancellable(bench, objects.files(before)), seen), objects.open)
            after, _ = inventory.listed(objects)
            facts = stable_facts(objects, seen, before, after, inventory, histories)
        capture.note(
            method="every object's current version"
            + (", and all earlier ones," if inventory.all_versions else ",")
            + " read through the S3 API with its metadata",
            versions={},
            restore_by_hand=_BY_HAND,
            facts=facts,
        )

    def check(self, bench: Workbench, artifact: OpenArtifact, image: str) -> list[str]:  # noqa: ARG002 - no tool is needed
        """Read every object and the settings; see ``BackupType.check``."""
        problems: list[str] = []
        buckets = set(_document(artifact)["settings"])
        for file, content in artifact.contents():
            if file.path.partition("/")[0] not in buckets:
                problems.append(f"{file.path!r} is in a bucket that the backup doesn't name")
            while content is not None and content.read(_BLOCK):
                pass
        return problems

    def restore(self, bench: Workbench, instance: Instance, artifact: OpenArtifact) -> Instance:
        """Restore the buckets; see ``BackupType.restore``.

        Objects that the backup doesn't hold are deleted after all others were put. Buckets that
        it doesn't name aren't changed.
        """
        with _store_errors(instance, RestoreError):
            client = s3_client(instance)
            if instance.scratch:
                names = [one["Name"] for one in client.list_buckets()["Buckets"]]
                instance = replace(instance, own=frozenset(map(bucket_item, names)))
            refused = _restore(bench, client, artifact)
        if refused:
            raise PartialRestoreError(
                f"{instance.service} was restored from {artifact.manifest.ref}, but for what its"
                " store refuses",
                refused=refused,
                remedy="what is named is in the backup: take it out by hand, or restore into"
                " another store",
            )
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Return facts about a store; see ``BackupType.inspect``."""
        with _store_errors(instance, BackupError):
            client = s3_client(instance)
            inventory = Inventory.of(client, instance, like)
            objects = Objects(client, inventory.wanted)
            listed, histories = inventory.listed(objects)
            if like is not None:
                listed = [one for one in listed if not is_left_out(one.path, like)]
            names = item_names((one.path for one in listed), histories)
            wanted = listed
            if like is not None and not like.complete:
                wanted = [one for one in listed if names[one.path] in like.items]
            wanted = sorted(wanted, key=lambda one: one.path)[: s3_facts.DESCRIBED]
            files = {f.path: f for f in _cancellable(bench, objects.files(wanted))}
            content = content_marks(objects, files, like, names)
            found = found_facts(files, listed, inventory, histories, content)
            unread = {
                names.get(path, bucket_item(path)): why for path, why in objects.unread.items()
            }
        if like is None:
            return Facts(found.figures, found.items, not_covered={**found.not_covered, **unread})
        return Facts(
            found.figures,
            as_recorded(found.items, like, files),
            not_covered={
                name: why
                for name, why in {**found.not_covered, **unread}.items()
                if name in like.items
            },
        )


_BY_HAND = (
    "# tree/ holds a folder for each bucket; objects whose names can't be paths, and old versions,",
    "# stand under stand-ins; index.jsonl has the true name (an old version's id after \\u0000),",
    "# metadata, tags, ACL and retention of each. buckets.json has the buckets' settings, and the",
    "# order of versions. With any S3 client, such as the AWS CLI:",
    'for b in tree/*/; do aws --endpoint-url "$URL" s3 sync "$b" "s3://$(basename "$b")"; done',
)


def _restore(bench: Workbench, client: Any, artifact: OpenArtifact) -> dict[str, str]:
    """Restore everything; return what the store refused: name → why."""
    document = _document(artifact)
    settings: dict[str, dict[str, Any]] = document["settings"]
    recorded: dict[str, Collection[str]] = document.get("recorded", {})
    facts = artifact.facts()
    all_versions = "versions" in document
    ranks = {
        path: rank
        for versions in document.get("versions", ())
        for rank, path in enumerate(versions)
    }
    held: set[str] = set()
    without: dict[str, set[str]] = {bucket: set() for bucket in settings}
    for file in artifact.files():
        held.add(file.path)
        without.get(file.path.partition("/")[0], set()).update(lacks(file))
    several = {path.partition("/")[0] for path in ranks}
    there = {one["Name"] for one in client.list_buckets()["Buckets"]}
    before: dict[str, dict[str, Any]] = {}
    for bucket, found in settings.items():
        if bucket not in there:
            create_bucket(client, bucket, found)
        # Backups of format 1 don't record what objects lack, and a setting that the backup doesn't
        # record wouldn't be written again.
        cleared = without[bucket].intersection(recorded.get(bucket, ()))
        before[bucket] = prepare_bucket(
            client, bucket, found, versioned=bucket in several, without=cleared
        )
    objects, uploads = Objects(client, settings), Uploads(client)
    if all_versions:
        extra = [
            replace(one, version=one.id).path for versions in objects.history() for one in versions
        ]
    else:
        extra = [one.path for one in objects.listed() if one.path not in held]
    extra = [path for path in extra if not is_left_out(path, facts)]
    bench.tell(
        f"putting {len(held)} objects back, each over the one that is there: a store has no room"
        " for a second copy of its buckets"
    )
    count = 0
    refused: dict[str, str] = {}
    for round_ in range(max(ranks.values(), default=0) + 1):
        contents = artifact.contents(lambda file, now=round_: ranks.get(file.path, 0) == now)  # type: ignore[misc]
        put, bad = uploads.put(_cancellable(bench, contents))
        count += put
        refused.update(bad)
    if refused and not count:
        # These were only changed for the objects.
        changed = [
            f"{name} of bucket {bucket}"
            for bucket, old in before.items()
            for name in write_settings(client, bucket, old, old.keys())
        ]
        again = f"; set again what the restore changed: {', '.join(changed)}" if changed else ""
        raise RestoreError(
            f"the store refused every one of {len(refused)} objects",
            why=next(iter(refused.values())),
            remedy=f"no object was replaced or deleted{again}",
        )
    # Last: until here, nothing was deleted that the backup can't restore.
    kept = {path.partition("\0")[0] for path in refused}
    extra = [path for path in extra if path.partition("\0")[0] not in kept]
    if extra:
        bench.tell(f"deleting {len(extra)} objects that the backup doesn't hold")
        refused |= uploads.delete(_cancellable(bench, extra))
    for bucket, found in settings.items():
        spoken = recorded.get(bucket, FIRST_FORMAT)
        for name, why in write_settings(client, bucket, found, spoken).items():
            refused[f"{bucket_item(bucket)}/{name}"] = why
    bench.tell(f"{count} objects put back")
    # Additional objects in these buckets couldn't be searched for.
    refused |= {bucket_item(name): why for name, why in objects.unread.items()}
    return {_refused_name(name, ranks): why for name, why in refused.items()}


def _refused_name(name: str, ranks: Mapping[str, int]) -> str:
    """Return the name that the facts use for a refused object or setting."""
    if name in ranks:
        return version_item(name, ranks[name] + 1)
    return name if name.startswith("bucket ") else object_item(name)


def _document(artifact: OpenArtifact) -> dict[str, Any]:
    (payload,) = [p for p in artifact.manifest.with_role("files") if p.name.startswith(_BUCKETS)]
    with artifact.read(payload) as source:
        found: dict[str, Any] = json.loads(source.read())
    return found


def _noting(files: Iterable[TreeFile], seen: dict[str, TreeFile]) -> Iterator[TreeFile]:
    for file in files:
        seen[file.path] = file
        yield file


def _cancellable(bench: Workbench, things: Iterable[One]) -> Iterator[One]:
    for thing in things:
        if bench.cancel.is_set():
            raise CancelledError("the work on the buckets was cancelled")
        yield thing


@contextmanager
def _store_errors(
    instance: Instance, kind: type[BackupError] | type[RestoreError]
) -> Iterator[None]:
    """Convert errors of the store, without their text: it may contain a signed URL."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise kind(
            f"{instance.service} refused {error.operation_name}",
            why=f"code {code}",
            remedy=f"look at its log: `mmstack logs {instance.service}`",
        ) from None
    except BotoCoreError as error:
        raise kind(
            f"{instance.service} can't be reached",
            why=type(error).__name__,
            remedy=f"look at its log: `mmstack logs {instance.service}`",
        ) from None
