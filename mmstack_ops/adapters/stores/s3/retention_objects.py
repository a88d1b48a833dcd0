"""Delete old objects of a bucket: by listing them, or by a lifecycle rule of the store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, Tally, counted
from mmstack_ops.adapters.stores.s3.client import s3_client
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import ObjectsRule

# The maximum for one DeleteObjects request.
_BATCH = 1_000
_DAY = 86400.0
_NO_LIFECYCLE = ("NoSuchLifecycleConfiguration", "NoSuchLifecycle")


@dataclass(frozen=True)
class _Version:
    """A version of an object, or a delete marker."""

    key: str
    id: str
    size: int
    written: datetime
    expired: bool


class S3Objects:
    """Deletion of versions, delete markers and unfinished uploads from before the moment.

    The age of a replaced version counts from the day it was replaced, as in S3's own lifecycle
    rules (NoncurrentDays).
    """

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: ObjectsRule) -> Found:
        """Count versions; see ``Strategy.look``."""
        with _store(site, rule) as client:
            if rule.by == "lifecycle" and _is_set(client, site, rule):
                days = _wanted(site, rule)[0]["Expiration"]["Days"]
                told = f"the store's own rule deletes them after {days} d"
                return Found("objects", 0, 0, notes=(told,), passing=True)
            total = expired = freed = 0
            oldest: datetime | None = None
            newest: datetime | None = None
            for one in _versions(client, site, rule):
                total += 1
                oldest = one.written if oldest is None else min(oldest, one.written)
                newest = one.written if newest is None else max(newest, one.written)
                if one.expired:
                    expired += 1
                    freed += one.size
            uploads = sum(1 for _ in _stale_uploads(client, site, rule))
            notes = [f"{uploads} of them are unfinished uploads"] if uploads else []
            if rule.by == "lifecycle":
                notes.append("the bucket gets a lifecycle rule, which deletes them within a day")
            return Found(
                things="objects",
                total=total + uploads,
                expired=expired + uploads,
                freed_bytes=freed,
                oldest=oldest,
                newest=newest,
                notes=tuple(notes),
                passing=rule.by == "lifecycle",
            )

    def clean(self, site: Site, rule: ObjectsRule) -> Gone:
        """Delete by version id, a thousand at a time; see ``Strategy.clean``."""
        with counted(site, "objects") as tally, _store(site, rule) as client:
            if rule.by == "lifecycle":
                _set(client, site, rule)
                return Gone(0, None, (f"the bucket {rule.bucket} has its lifecycle rule",))
            refused: dict[str, str] = {}
            batch: list[_Version] = []
            for one in _versions(client, site, rule):
                if not one.expired:
                    continue
                # Delete only after one more was listed: a listing must not continue after a key
                # that was deleted.
                if len(batch) == _BATCH:
                    site.check()
                    _delete(client, rule, batch, refused, tally)
                    batch = []
                    site.tell(f"{tally.count} objects deleted")
                batch.append(one)
            if batch:
                _delete(client, rule, batch, refused, tally)
            for key, upload in _stale_uploads(client, site, rule):
                site.check()
                client.abort_multipart_upload(Bucket=rule.bucket, Key=key, UploadId=upload)
                tally.count += 1
            if refused:
                key, why = next(iter(refused.items()))
                raise RetentionError(
                    f"{len(refused)} objects of {rule.bucket} stayed",
                    why=f"{key}: {why}",
                    remedy="objects under a lock go when it ends; else look at the store's log",
                )
            return Gone(tally.count, tally.freed_bytes)


def _versions(client: Any, site: Site, rule: ObjectsRule) -> Iterator[_Version]:
    """Yield every version and delete marker below the prefix, key by key, newest first."""
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=rule.bucket, Prefix=rule.prefix
    )
    last_key, replaced_at = "", None
    for page in pages:
        site.check()
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        # The answer has two lists. The latest comes first regardless of its time: times are only
        # exact to the second.
        entries.sort(
            key=lambda one: (one["Key"], not one["IsLatest"], -one["LastModified"].timestamp())
        )
        for one in entries:
            if one["Key"] != last_key:
                last_key, replaced_at = one["Key"], None
            since = one["LastModified"] if one["IsLatest"] else replaced_at
            expired = since is not None and since < site.before
            replaced_at = one["LastModified"]
            yield _Version(
                one["Key"], one["VersionId"], one.get("Size", 0), one["LastModified"], expired
            )


def _stale_uploads(client: Any, site: Site, rule: ObjectsRule) -> Iterator[tuple[str, str]]:
    pages = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=rule.bucket, Prefix=rule.prefix
    )
    for page in pages:
        for one in page.get("Uploads", ()):
            if one["Initiated"] < site.before:
                yield one["Key"], one["UploadId"]


def _delete(
    client: Any, rule: ObjectsRule, batch: list[_Version], refused: dict[str, str], tally: Tally
) -> None:
    """Delete a batch by exact version; record what was deleted and what the store refused."""
    objects = [{"Key": one.key, "VersionId": one.id} for one in batch]
    answer = client.delete_objects(Bucket=rule.bucket, Delete={"Objects": objects, "Quiet": True})
    stayed = {(one["Key"], one.get("VersionId")) for one in answer.get("Errors", ())}
    refused.update(
        {one["Key"]: f"{one['Code']}: {one.get('Message', '')}" for one in answer.get("Errors", ())}
    )
    gone = [one for one in batch if (one.key, one.id) not in stayed]
    tally.count += len(gone)
    tally.freed_bytes += sum(one.size for one in gone)


@contextmanager
def _store(site: Site, rule: ObjectsRule) -> Iterator[Any]:
    """Yield a client; errors inside the block name the bucket of the rule."""
    from botocore.exceptions import BotoCoreError, ClientError

    service = site.instance.service
    try:
        yield s3_client(site.instance)
    except (ClientError, BotoCoreError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code in ("NoSuchBucket", "404"):
            raise RetentionError(
                f"{service} has no bucket {rule.bucket}",
                why="the schema declares a retention for it",
                remedy="correct the rule's bucket, or take the rule out of the schema",
            ) from None
        raise RetentionError(
            f"the store {service} failed on bucket {rule.bucket}",
            why=str(error),
            remedy=f"look at its log: `mmstack logs {service}`",
        ) from None


def _wanted(site: Site, rule: ObjectsRule) -> list[dict[str, Any]]:
    """Return the store's rules for a rule of the schema; lifecycle rules use whole days."""
    days = max(1, math.ceil(site.age / _DAY))
    name = f"mmstack {rule.prefix}".rstrip()
    ours: dict[str, Any] = {"Status": "Enabled", "Filter": {"Prefix": rule.prefix}}
    return [
        {
            **ours,
            "ID": name,
            "Expiration": {"Days": days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
        },
        {**ours, "ID": f"{name} markers", "Expiration": {"ExpiredObjectDeleteMarker": True}},
    ]


def _rules(client: Any, rule: ObjectsRule) -> list[dict[str, Any]]:
    from botocore.exceptions import ClientError

    try:
        found = client.get_bucket_lifecycle_configuration(Bucket=rule.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_LIFECYCLE:
            return []
        raise
    return list(found["Rules"])


def _is_set(client: Any, site: Site, rule: ObjectsRule) -> bool:
    found = {one.get("ID"): one for one in _rules(client, rule)}
    return all(
        one["ID"] in found
        and found[one["ID"]]["Status"] == "Enabled"
        and found[one["ID"]].get("Expiration") == one["Expiration"]
        for one in _wanted(site, rule)
    )


def _set(client: Any, site: Site, rule: ObjectsRule) -> None:
    """Set mmstack's rules on the bucket; keep all other rules."""
    wanted = _wanted(site, rule)
    ours = {one["ID"] for one in wanted}
    others = [one for one in _rules(client, rule) if one.get("ID") not in ours]
    client.put_bucket_lifecycle_configuration(
        Bucket=rule.bucket, LifecycleConfiguration={"Rules": [*others, *wanted]}
    )
