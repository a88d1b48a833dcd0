"""What is set for a bucket as a whole: versions, policy, lifecycle, CORS, tags, encryption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Settings = dict[str, Any]
_LOCK = "object_lock"


@dataclass(frozen=True)
class _Setting:
    """How one setting is read and written."""

    read: str
    write: str
    clear: str | None
    """None where it can't be taken away again."""
    keep: Callable[[dict[str, Any]], Any]
    """What of the answer is the setting; nothing when it isn't set."""
    arguments: Callable[[Any], dict[str, Any]]


def _one(answer: str, argument: str) -> tuple[Callable[[dict[str, Any]], Any], Any]:
    return (lambda found: found.get(answer)), (lambda value: {argument: {answer: value}})


def _setting(
    read: str, write: str, clear: str | None, answer: str, argument: str | None = None
) -> _Setting:
    if argument is None:
        return _Setting(read, write, clear, lambda f: f.get(answer), lambda value: {answer: value})
    keep, arguments = _one(answer, argument)
    return _Setting(read, write, clear, keep, arguments)


_SETTINGS = {
    "versioning": _setting(
        "get_bucket_versioning",
        "put_bucket_versioning",
        None,
        "Status",
        "VersioningConfiguration",
    ),
    "policy": _setting("get_bucket_policy", "put_bucket_policy", "delete_bucket_policy", "Policy"),
    "lifecycle": _setting(
        "get_bucket_lifecycle_configuration",
        "put_bucket_lifecycle_configuration",
        "delete_bucket_lifecycle",
        "Rules",
        "LifecycleConfiguration",
    ),
    "cors": _setting(
        "get_bucket_cors", "put_bucket_cors", "delete_bucket_cors", "CORSRules", "CORSConfiguration"
    ),
    "tags": _setting(
        "get_bucket_tagging", "put_bucket_tagging", "delete_bucket_tagging", "TagSet", "Tagging"
    ),
    "encryption": _setting(
        "get_bucket_encryption",
        "put_bucket_encryption",
        "delete_bucket_encryption",
        "ServerSideEncryptionConfiguration",
    ),
    _LOCK: _setting(
        "get_object_lock_configuration",
        "put_object_lock_configuration",
        None,
        "ObjectLockConfiguration",
    ),
}


def read_settings(client: Any, bucket: str) -> Settings:
    """Return what is set for a bucket; what isn't set, or unknown to the server, is missing."""
    from botocore.exceptions import ClientError

    found: Settings = {}
    for name, setting in _SETTINGS.items():
        try:
            value = setting.keep(getattr(client, setting.read)(Bucket=bucket))
        except ClientError as error:
            if not _is_absent(error):
                raise
            continue
        if value:
            found[name] = value
    return found


def create_bucket(client: Any, bucket: str, settings: Settings) -> None:
    """Make a bucket. Whether objects can be locked is decided here, once and for all."""
    locked = {"ObjectLockEnabledForBucket": True} if _LOCK in settings else {}
    client.create_bucket(Bucket=bucket, **locked)


def write_settings(client: Any, bucket: str, settings: Settings) -> None:
    """Make a bucket's settings exactly these."""
    now = read_settings(client, bucket)
    for name, setting in _SETTINGS.items():
        value, old = settings.get(name), now.get(name)
        if value == old:
            continue
        if value is not None:
            getattr(client, setting.write)(Bucket=bucket, **setting.arguments(value))
        elif setting.clear is not None:
            getattr(client, setting.clear)(Bucket=bucket)
        elif name == "versioning":
            # What was versioned once can only be suspended.
            client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
            )


def settings_digest(settings: Settings) -> str:
    """Return settings as text that is the same for the same settings."""
    return json.dumps(settings, sort_keys=True, default=str)


def deleted_keys(client: Any, bucket: str) -> int:
    """Count the objects of a versioned bucket that are gone behind a delete marker."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return sum(one["IsLatest"] for page in pages for one in page.get("DeleteMarkers", ()))


def _is_absent(error: Any) -> bool:
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return code != "NoSuchBucket" and (status in (404, 501) or code == "NotImplemented")
