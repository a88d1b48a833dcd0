"""An independent judge of an object store: every object with all its headers, every setting.

It shares nothing with the product: plain calls, the answers as they come but for moments and ids
that a store chooses itself.
"""

from __future__ import annotations

import hashlib
from typing import Any

from botocore.exceptions import ClientError

_CHOSEN = {
    *("date", "last-modified", "server", "connection", "x-amz-version-id", "x-amz-request-id"),
    # moto's own: a request's id, and the checksum that a request was sent with.
    *("x-amzn-requestid", "content-md5"),
}
_SETTINGS = (
    "get_bucket_accelerate_configuration",
    "get_bucket_acl",
    "get_bucket_cors",
    "get_bucket_encryption",
    "get_bucket_lifecycle_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_ownership_controls",
    "get_bucket_policy",
    "get_bucket_replication",
    "get_bucket_request_payment",
    "get_bucket_tagging",
    "get_bucket_versioning",
    "get_bucket_website",
    "get_object_lock_configuration",
    "get_public_access_block",
)


def dump(client: Any) -> dict[str, Any]:
    """Return all that a store shows of its buckets and current objects."""
    found: dict[str, Any] = {}
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        for call in _SETTINGS:
            found[f"{name} {call}"] = _asked(client, call, Bucket=name)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for one in page.get("Contents", ()):
                found[f"{name}/{one['Key']}"] = _object(client, name, one["Key"])
    return found


def _object(client: Any, bucket: str, key: str) -> dict[str, Any]:
    which = {"Bucket": bucket, "Key": key}
    answer = client.get_object(**which, ChecksumMode="ENABLED")
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return {
        "sha256": hashlib.sha256(answer["Body"].read()).hexdigest(),
        "headers": {name: value for name, value in headers.items() if name not in _CHOSEN},
        "tags": _asked(client, "get_object_tagging", **which),
        "acl": _asked(client, "get_object_acl", **which),
        "retention": _asked(client, "get_object_retention", **which),
        "legal hold": _asked(client, "get_object_legal_hold", **which),
    }


def _asked(client: Any, call: str, **which: str) -> Any:
    try:
        answer = getattr(client, call)(**which)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return {k: v for k, v in answer.items() if k not in ("ResponseMetadata", "VersionId")}
