"""Settings of buckets: versioning, policy, ACL, lifecycle, website, and so on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

Settings = dict[str, Any]
_LOCK = "object_lock"
OWNER = "owner"
"""The bucket's owner in a recorded ACL: the owner's id differs between stores."""
FIRST_FORMAT = (
    "versioning",
    "policy",
    "lifecycle",
    "cors",
    "tags",
    "encryption",
    _LOCK,
)
"""The settings that backups of format 1 recorded, in one digest for each bucket."""
_NOT_THERE = {"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "501", "405"}


@dataclass(frozen=True)
class _Setting:
    """The calls that read and write a setting."""

    read: str
    write: str
    clear: str | None
    """None if it can't be removed again, or is removed by writing an empty value."""
    keep: Callable[[dict[str, Any]], Any]
    """Returns the setting from the answer; an empty value if it isn't set."""
    arguments: Callable[[Any], dict[str, Any]]
    none: Any = None
    """The value to write to remove it, if there is no call for that."""


def _setting(
    read: str,
    write: str,
    clear: str | None,
    answer: str,
    argument: str | None = None,
    **more: Any,
) -> _Setting:
    def arguments(value: Any) -> dict[str, Any]:
        return {answer: value} if argument is None else {argument: {answer: value}}

    return _Setting(read, write, clear, lambda found: found.get(answer), arguments, **more)


def _notification(found: dict[str, Any]) -> Any:
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


def _payer(found: dict[str, Any]) -> Any:
    payer = found.get("Payer")
    return None if payer == "BucketOwner" else payer


_SETTINGS = {
    "versioning": _setting(
        "get_bucket_versioning",
        "put_bucket_versioning",
        None,
        "Status",
        "VersioningConfiguration",
        # Once enabled, versioning can only be suspended.
        none="Suspended",
    ),
    _LOCK: _setting(
        "get_object_lock_configuration",
        "put_object_lock_configuration",
        None,
        "ObjectLockConfiguration",
        none={"ObjectLockEnabled": "Enabled"},
    ),
    "ownership": _setting(
        "get_bucket_ownership_controls",
        "put_bucket_ownership_controls",
        "delete_bucket_ownership_controls",
        "OwnershipControls",
    ),
    "public_access_block": _setting(
        "get_public_access_block",
        "put_public_access_block",
        "delete_public_access_block",
        "PublicAccessBlockConfiguration",
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
    "website": _Setting(
        "get_bucket_website",
        "put_bucket_website",
        "delete_bucket_website",
        _notification,
        lambda value: {"WebsiteConfiguration": value},
    ),
    "notification": _Setting(
        "get_bucket_notification_configuration",
        "put_bucket_notification_configuration",
        None,
        _notification,
        lambda value: {"NotificationConfiguration": value},
        none={},
    ),
    "logging": _setting(
        "get_bucket_logging",
        "put_bucket_logging",
        None,
        "LoggingEnabled",
        "BucketLoggingStatus",
    ),
    "request_payment": _Setting(
        "get_bucket_request_payment",
        "put_bucket_request_payment",
        None,
        _payer,
        lambda value: {"RequestPaymentConfiguration": {"Payer": value}},
        none="BucketOwner",
    ),
    "replication": _setting(
        "get_bucket_replication",
        "put_bucket_replication",
        "delete_bucket_replication",
        "ReplicationConfiguration",
    ),
    "acceleration": _setting(
        "get_bucket_accelerate_configuration",
        "put_bucket_accelerate_configuration",
        None,
        "Status",
        "AccelerateConfiguration",
        none="Suspended",
    ),
}
_ACL = "acl"
NAMES = (*_SETTINGS, _ACL)


@dataclass(frozen=True)
class BucketSettings:
    """The settings of one bucket.

    Args:
        values: only settings that are set.
        refused: setting → why the server doesn't return it.
        unknown: settings that the server doesn't implement, so that they can't be set.
    """

    values: Settings = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


def read_settings(client: Any, bucket: str) -> BucketSettings:
    """Return all settings of a bucket.

    Raises:
        ClientError: the bucket doesn't exist.
    """
    from botocore.exceptions import ClientError

    values: Settings = {}
    refused: dict[str, str] = {}
    unknown: set[str] = set()
    for name in NAMES:
        try:
            if name == _ACL:
                value: Any = normal_acl(client.get_bucket_acl(Bucket=bucket))
            else:
                setting = _SETTINGS[name]
                value = setting.keep(getattr(client, setting.read)(Bucket=bucket))
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code == "NoSuchBucket":
                raise
            if is_unknown(error):
                unknown.add(name)
            elif error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                refused[name] = f"the server refused {error.operation_name}: code {code}"
            continue
        if value:
            values[name] = value
    return BucketSettings(values, refused, frozenset(unknown))


def is_unknown(error: Any) -> bool:
    """Return whether an error says that the server doesn't implement the call."""
    code = error.response["Error"].get("Code", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return code in _NOT_THERE or status in (405, 501)


def create_bucket(client: Any, bucket: str, settings: Settings) -> None:
    """Create a bucket. Object lock can only be enabled here, not later."""
    locked = {"ObjectLockEnabledForBucket": True} if _LOCK in settings else {}
    client.create_bucket(Bucket=bucket, **locked)


def prepare_bucket(
    client: Any,
    bucket: str,
    settings: Settings,
    *,
    versioned: bool = False,
    without: Collection[str] = (),
) -> Settings:
    """Change the settings that must be in effect before objects are put.

    Args:
        versioned: several versions of an object will be put.
        without: defaults for new objects (``encryption``, ``object_lock``, and on some servers
            ``acl``) that some objects of the backup don't have: they are removed until
            ``write_settings``.

    Returns:
        The previous values of what was changed: None if it wasn't set.
    """
    changed: Settings = {}
    now = read_settings(client, bucket).values
    if versioned and now.get("versioning") != "Enabled":
        changed["versioning"] = now.get("versioning")
        _write(client, bucket, "versioning", "Enabled")
    elif settings.get("versioning") not in (None, now.get("versioning")):
        changed["versioning"] = now.get("versioning")
        _write(client, bucket, "versioning", settings["versioning"])
    for name in ("encryption", _LOCK, _ACL):
        if name in without and name in now:
            changed[name] = now[name]
            _clear(client, bucket, name)
    return changed


def write_settings(
    client: Any, bucket: str, settings: Settings, recorded: Collection[str]
) -> dict[str, str]:
    """Set a bucket's settings to exactly these.

    Args:
        recorded: the settings that the backup recorded; others aren't changed.

    Returns:
        What the server refused: setting → why.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    now = read_settings(client, bucket).values
    refused: dict[str, str] = {}
    for name in (name for name in NAMES if name in recorded):
        value, old = settings.get(name), now.get(name)
        if settings_digest({name: value}) == settings_digest({name: old}):
            continue
        try:
            if value is None:
                _clear(client, bucket, name)
            else:
                _write(client, bucket, name, value)
        except ClientError as error:
            code = error.response["Error"].get("Code", "unknown")
            refused[name] = f"the server refused {error.operation_name}: code {code}"
        except BotoCoreError as error:
            refused[name] = f"it can't be written: {type(error).__name__}"
    return refused


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return a short digest of settings; equal settings have the same digest."""
    shown = json.dumps(settings, sort_keys=True, default=str)
    return sha256(shown.encode()).hexdigest()[:16]


def normal_acl(answer: Mapping[str, Any]) -> list[list[str]]:
    """Return the grants of an ACL, with ``OWNER`` for the owner; empty if only he has one."""
    owner = answer.get("Owner", {}).get("ID", "")
    grants = []
    for grant in answer.get("Grants", ()):
        who = grant.get("Grantee", {})
        kind = who.get("Type", "CanonicalUser")
        name = who.get("URI") or who.get("EmailAddress") or who.get("ID", "")
        if kind == "CanonicalUser" and name in (owner, ""):
            name = OWNER
        grants.append([kind, name, grant.get("Permission", "")])
    grants.sort()
    return [] if grants in ([], [["CanonicalUser", OWNER, "FULL_CONTROL"]]) else grants


def grant_arguments(grants: list[list[str]], owner: str) -> dict[str, str]:
    """Return the arguments that set an ACL from the result of ``normal_acl``."""
    names = {"Group": "uri", "AmazonCustomerByEmail": "emailAddress"}
    by_permission: dict[str, list[str]] = {}
    for kind, name, permission in grants or [["CanonicalUser", OWNER, "FULL_CONTROL"]]:
        who = f'{names.get(kind, "id")}="{owner if name == OWNER else name}"'
        by_permission.setdefault(permission, []).append(who)
    return {
        "Grant" + "".join(_PERMISSION_PARTS[part] for part in permission.split("_")): ",".join(who)
        for permission, who in by_permission.items()
    }


_PERMISSION_PARTS = {
    "FULL": "Full",
    "CONTROL": "Control",
    "READ": "Read",
    "WRITE": "Write",
    "ACP": "ACP",
}


def old_versions(client: Any, bucket: str) -> tuple[int, int, int] | None:
    """Count the versions of a bucket that aren't current.

    Returns:
        The numbers of old versions, of delete markers, and of keys deleted by a delete marker;
        None if the server doesn't list them.
    """
    from botocore.exceptions import ClientError

    old = markers = gone = 0
    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            old += sum(not one["IsLatest"] for one in page.get("Versions", ()))
            markers += len(page.get("DeleteMarkers", ()))
            gone += sum(one["IsLatest"] for one in page.get("DeleteMarkers", ()))
    except ClientError:
        return None
    return old, markers, gone


def _write(client: Any, bucket: str, name: str, value: Any) -> None:
    if name == _ACL:
        _write_acl(client, bucket, value)
        return
    setting = _SETTINGS[name]
    getattr(client, setting.write)(Bucket=bucket, **setting.arguments(value))


def _clear(client: Any, bucket: str, name: str) -> None:
    if name == _ACL:
        _write_acl(client, bucket, [])
        return
    setting = _SETTINGS[name]
    if setting.clear is not None:
        getattr(client, setting.clear)(Bucket=bucket)
    elif name == "logging":
        client.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    else:
        _write(client, bucket, name, setting.none)


def _write_acl(client: Any, bucket: str, grants: list[list[str]]) -> None:
    owner = client.get_bucket_acl(Bucket=bucket).get("Owner", {}).get("ID", "")
    client.put_bucket_acl(Bucket=bucket, **grant_arguments(grants, owner))
