"""Attributes of objects: read from a store's answer, described, and written again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from mmstack_ops.domain.backups.files import TreeFile

IN_ONE_PART = 8 << 20
"""Size in bytes up to which an object is put in one request; its ETag is then its MD5."""
# Argument that sets a header → the attribute it is recorded as.
_HEADERS = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
    "WebsiteRedirectLocation": "redirect",
    "StorageClass": "storage-class",
    "ServerSideEncryption": "encryption",
    "SSEKMSKeyId": "encryption-key",
}
_EXPIRES, ACL, _HOLD = "expires", "acl", "legal-hold"
_LOCK_MODE, _LOCK_UNTIL = "lock-mode", "lock-until"
CHECKSUM = "checksum"
_META, _TAG = "meta:", "tag:"
DELETE_MARKER = "delete-marker"
"""The attribute of an entry that represents a delete marker."""
_CHECKSUMS = ("SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME")
# Compared separately, or not recorded by backups of format 1.
_FIRST_FORMAT = {
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
}


def described(file: TreeFile) -> str:
    """Return a description of what a restore must preserve of an object, except its content."""
    own = {n: v for n, v in file.attributes.items() if n not in (CHECKSUM, *_LOCKS)}
    text = f"{file.size} bytes, attributes {_digest_of(own)}"
    if lock := " ".join(file.attributes[name] for name in _LOCKS if name in file.attributes):
        text += f" lock={lock.replace(' ', '/')}"
    if checksum := file.attributes.get(CHECKSUM):
        text += f" checksum={checksum}"
    return text


def described_first(file: TreeFile) -> str:
    """Return what ``described`` returned for backups of format 1."""
    own = {
        name: value
        for name, value in file.attributes.items()
        if name in _FIRST_FORMAT or name.startswith((_META, _TAG))
    }
    return f"{file.size} bytes {_digest_of(own)}"


_LOCKS = (_LOCK_MODE, _LOCK_UNTIL)


def plain_md5(file: TreeFile) -> str:
    """Return the MD5 of an object's content if its ETag is that; otherwise an empty string."""
    etag = file.version.partition(" ")[0]
    by_key = file.attributes.get("encryption", "AES256") != "AES256"
    return etag if is_md5(etag) and not by_key else ""


def is_md5(etag: str) -> bool:
    """Return whether an ETag may be an MD5: the ETag of a multipart upload has a dash."""
    return len(etag) == 32 and all(letter in "0123456789abcdef" for letter in etag)


def lacks(file: TreeFile) -> set[str]:
    """Return the bucket defaults that an object doesn't have."""
    if DELETE_MARKER in file.attributes:
        return set()
    without = set()
    if "encryption" not in file.attributes:
        without.add("encryption")
    if _LOCK_MODE not in file.attributes:
        without.add("object_lock")
    if ACL not in file.attributes:
        without.add("acl")
    return without


def attributes_of(
    head: Mapping[str, Any], tags: Iterable[Mapping[str, str]], acl: list[list[str]]
) -> dict[str, str]:
    """Return an object's attributes from the store's answers."""
    attributes = {name: head[header] for header, name in _HEADERS.items() if head.get(header)}
    if attributes.get("storage-class") == "STANDARD":
        del attributes["storage-class"]
    # The header as it was sent: boto3 only returns dates.
    if expires := head["ResponseMetadata"]["HTTPHeaders"].get("expires"):
        attributes[_EXPIRES] = expires
    if acl:
        attributes[ACL] = json.dumps(acl)
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        attributes[_HOLD] = "ON"
    until = head.get("ObjectLockRetainUntilDate")
    if head.get("ObjectLockMode") and until is not None:
        attributes[_LOCK_MODE] = head["ObjectLockMode"]
        attributes[_LOCK_UNTIL] = until.astimezone(UTC).isoformat(timespec="milliseconds")
    for name in _CHECKSUMS:
        value = head.get(f"Checksum{name}")
        # The checksum of a multipart object depends on the part sizes: the store recomputes it.
        if value and "-" not in value and head["ContentLength"] <= IN_ONE_PART:
            attributes[CHECKSUM] = f"{name}:{value}"
            break
    attributes |= {_META + name: value for name, value in head["Metadata"].items()}
    attributes |= {_TAG + tag["Key"]: tag["Value"] for tag in tags}
    return attributes


def arguments_of(file: TreeFile) -> dict[str, Any]:
    """Return the arguments that restore an object's metadata, tags and locks."""
    attributes = file.attributes
    arguments: dict[str, Any] = {
        header: attributes[name] for header, name in _HEADERS.items() if name in attributes
    }
    metadata = {name: as_sent(value) for name, value in _named(attributes, _META).items()}
    tags = _named(attributes, _TAG)
    if metadata:
        arguments["Metadata"] = metadata
    if tags:
        arguments["Tagging"] = urlencode(tags)
    if _EXPIRES in attributes:
        arguments["Expires"] = parsedate_to_datetime(attributes[_EXPIRES])
    if _HOLD in attributes:
        arguments["ObjectLockLegalHoldStatus"] = attributes[_HOLD]
    until = lock_end(attributes.get(_LOCK_UNTIL, ""))
    # An expired retention can't be set again, and has no effect.
    if until is not None and until > datetime.now(UTC):
        arguments["ObjectLockMode"] = attributes[_LOCK_MODE]
        arguments["ObjectLockRetainUntilDate"] = until
    return arguments


def lock_end(text: str) -> datetime | None:
    """Return the time at which a recorded retention ends; None if there is none."""
    return datetime.fromisoformat(text) if text else None


def as_sent(value: str) -> str:
    """Return the text of a header as it was sent; HTTP clients decode its bytes as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _named(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


def _digest_of(attributes: Mapping[str, str]) -> str:
    text = json.dumps(dict(attributes), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
