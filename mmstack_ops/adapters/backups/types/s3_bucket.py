"""Buckets of an object store: objects with metadata and tags, and the buckets' settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, ClassVar, Literal, TypeVar

from mmstack_ops.adapters.backups.types.base import Capture, Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.backups.types.s3_client import s3_client
from mmstack_ops.adapters.backups.types.s3_objects import Listed, Objects, described
from mmstack_ops.adapters.backups.types.s3_settings import (
    create_bucket,
    deleted_keys,
    read_settings,
    settings_digest,
    write_settings,
)
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import BackupError, CancelledError, RestoreError

_BUCKETS = "buckets.json"
_BLOCK = 1 << 20
# Objects whose content is hashed for the comparison; all others are checked by size and
# metadata, and against the index while they are written.
_SAMPLED = 32
_SAMPLE_BYTES = 1 << 20
# A list of a million objects in every backup's facts would be larger than most backups.
_DESCRIBED = 50_000
One = TypeVar("One")


class S3Bucket:
    """All buckets of a store, or those the schema names, as one incremental tree."""

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
            objects = Objects(client, _buckets(client, instance))
            settings = {one: read_settings(client, one) for one in objects.buckets}
            deleted = {one: deleted_keys(client, one) for one in objects.buckets}
            with capture.payload(_BUCKETS, "files") as sink:
                document = {"settings": settings, "deleted": deleted}
                sink.write(json.dumps(document, default=str, indent=1).encode())
            before = list(objects.listed())
            bench.tell(f"{len(before)} objects in {len(objects.buckets)} buckets")
            seen: dict[str, TreeFile] = {}
            capture.tree(_noting(_cancellable(bench, objects.files(before)), seen), objects.open)
            facts = _stable(objects, seen, before, list(objects.listed()), settings)
        capture.note(
            method="every object's current version, read through the S3 API with its metadata",
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
        """Make the buckets what they were; see ``BackupType.restore``.

        Objects that the backup doesn't hold are deleted, buckets that it doesn't name are
        left alone.
        """
        with _store_errors(instance, RestoreError):
            client = s3_client(instance)
            document = _document(artifact)
            there = {one["Name"] for one in client.list_buckets()["Buckets"]}
            for bucket, settings in document["settings"].items():
                if bucket not in there:
                    create_bucket(client, bucket, settings)
                write_settings(client, bucket, settings)
            objects = Objects(client, document["settings"])
            held = {file.path for file in artifact.files()}
            extra = [one.path for one in objects.listed() if one.path not in held]
            if extra:
                bench.tell(f"deleting {len(extra)} objects that the backup doesn't hold")
                objects.delete(extra)
            count = objects.put(_cancellable(bench, artifact.contents()))
            bench.tell(f"{count} objects put back")
        return instance

    def inspect(self, bench: Workbench, instance: Instance, like: Facts | None) -> Facts:
        """Look at what a store holds; see ``BackupType.inspect``."""
        with _store_errors(instance, BackupError):
            client = s3_client(instance)
            buckets = _buckets(client, instance)
            if like is not None:
                # A restore leaves other buckets alone: they are no difference.
                buckets = [one for one in buckets if _bucket(one) in like.items]
            objects = Objects(client, buckets)
            listed = list(objects.listed())
            settings = {one: read_settings(client, one) for one in objects.buckets}
            wanted = listed
            if like is not None and not like.complete:
                wanted = [one for one in listed if _object(one.path) in like.items]
            files = {f.path: f for f in _cancellable(bench, objects.files(wanted[:_DESCRIBED]))}
            hashed = _sampled(files.values()) if like is None else _hashed_in(like)
            return _facts(objects, files, listed, settings, hashed, complete=True)


_BY_HAND = (
    "# tree/ holds a folder for each bucket; objects whose names can't be paths stand under",
    "# stand-ins, index.jsonl has the true name, metadata and tags of each.",
    "# buckets.json has the buckets' settings. With any S3 client, such as the AWS CLI:",
    'for b in tree/*/; do aws --endpoint-url "$URL" s3 sync "$b" "s3://$(basename "$b")"; done',
)


def _buckets(client: Any, instance: Instance) -> list[str]:
    backup = instance.definition.backup
    return [
        name
        for name in (one["Name"] for one in client.list_buckets()["Buckets"])
        if (not backup.include or any(fnmatchcase(name, p) for p in backup.include))
        and not any(fnmatchcase(name, p) for p in backup.exclude)
    ]


def _stable(
    objects: Objects,
    seen: Mapping[str, TreeFile],
    before: list[Listed],
    after: list[Listed],
    settings: Mapping[str, Any],
) -> Facts:
    """Return facts of what didn't change while it was read."""
    later = {one.path: one for one in after}
    same = [one for one in before if later.get(one.path) == one and one.path in seen]
    files = {one.path: seen[one.path] for one in same[:_DESCRIBED]}
    whole = len(same) == len(before) == len(after)
    return _facts(
        objects,
        files,
        same,
        settings,
        _sampled(files.values()),
        complete=whole and len(same) <= _DESCRIBED,
        counted=whole,
    )


def _facts(
    objects: Objects,
    files: Mapping[str, TreeFile],
    listed: list[Listed],
    settings: Mapping[str, Any],
    hashed: Iterable[str],
    *,
    complete: bool,
    counted: bool = True,
) -> Facts:
    items = {_object(path): described(file) for path, file in files.items()}
    for path in hashed:
        if path in files:
            items[_object(path)] += f" sha256={objects.digest(path)}"
    for bucket, found in settings.items():
        items[_bucket(bucket)] = sha256(settings_digest(found).encode()).hexdigest()[:16]
    figures = {
        "buckets": len(settings),
        "objects": len(listed),
        "bytes": sum(one.size for one in listed),
    }
    return Facts(figures=figures if counted else {}, items=items, complete=complete)


def _bucket(name: str) -> str:
    return f"bucket {name}"


def _object(path: str) -> str:
    return f"object {path}"


def _sampled(files: Iterable[TreeFile]) -> list[str]:
    """Choose objects whose content is compared: always the same ones of the same store."""
    small = [file.path for file in files if file.size <= _SAMPLE_BYTES]
    return sorted(small, key=lambda path: sha256(path.encode()).digest())[:_SAMPLED]


def _hashed_in(facts: Facts) -> list[str]:
    return [
        name.removeprefix("object ") for name, text in facts.items.items() if " sha256=" in text
    ]


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
    """Turn what the store refuses into our errors. Never its text: it may hold a signed URL."""
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
