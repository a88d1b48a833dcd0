"""The location of an S3 tier: endpoint, bucket, and the prefix of its keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from mmstack_ops.adapters.storage.keys import checked_key
from mmstack_ops.domain.errors import InputError

# Names that AWS and MinIO accept; dots are allowed, but break TLS with host-style addresses.
_BUCKET = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$")


@dataclass(frozen=True)
class S3Location:
    """A location in object storage.

    Args:
        endpoint: such as ``https://minio.example.com:9000``; None for AWS itself.
        prefix: empty, or ending in a slash.
    """

    endpoint: str | None
    bucket: str
    prefix: str

    def __str__(self) -> str:
        if self.endpoint is None:
            return f"s3://{self.bucket}/{self.prefix}"
        return f"{self.endpoint}/{self.bucket}/{self.prefix}"


def parse_location(text: str, *, endpoint: str = "") -> S3Location:
    """Parse ``https://endpoint[:port]/bucket/prefix`` or ``s3://bucket/prefix``.

    Args:
        endpoint: the endpoint for ``s3://``; empty for AWS itself.

    Raises:
        InputError: it is neither, lacks the bucket, or contains credentials. The message
            shows no part of a location that contains credentials.
    """
    parsed = _split(text, "the location of an S3 tier")
    if "@" in parsed.netloc or parsed.query or parsed.fragment:
        raise InputError(
            "the location of an S3 tier holds more than endpoint, bucket and prefix",
            why="a user, password, query or fragment stands in the URL",
            remedy="take it out; credentials belong into BACKUP_CLOUD_ACCESS_KEY and"
            " BACKUP_CLOUD_SECRET_KEY",
        )
    path = unquote(parsed.path).strip("/")
    if parsed.scheme in ("http", "https") and parsed.netloc:
        where: str | None = f"{parsed.scheme}://{parsed.netloc}"
        bucket, _, prefix = path.partition("/")
    elif parsed.scheme == "s3":
        where = _plain_endpoint(endpoint) if endpoint else None
        bucket, prefix = parsed.netloc, path
    else:
        raise _unreadable(text, "it begins with neither https://, http:// nor s3://")
    if not _BUCKET.match(bucket):
        raise _unreadable(text, f"{bucket!r} can't be the name of a bucket")
    if prefix:
        checked_key(prefix)
    return S3Location(where, bucket, f"{prefix}/" if prefix else "")


def _plain_endpoint(text: str) -> str:
    parsed = _split(text, "BACKUP_CLOUD_ENDPOINT")
    if parsed.scheme not in ("http", "https") or not parsed.netloc or "@" in parsed.netloc:
        raise InputError(
            "BACKUP_CLOUD_ENDPOINT isn't the address of an endpoint",
            remedy="write https://host[:port], without user or password",
        )
    return f"{parsed.scheme}://{parsed.netloc}"


def _split(text: str, what: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        InputError: its host or port isn't valid. The message shows no part of the URL,
            because it may contain a password.
    """
    try:
        parsed = urlsplit(text)
        # Reading the port validates it.
        _ = parsed.port
    except ValueError as error:
        wrong = "port" if "ort" in str(error) else "host"
        raise InputError(
            f"{what} has a {wrong} that isn't one",
            why="a port is a number from 0 to 65535; an IPv6 address stands in brackets",
            remedy="write https://host[:port]",
        ) from None
    return parsed


def _unreadable(text: str, why: str) -> InputError:
    return InputError(
        f"{text!r} isn't the location of an S3 tier",
        why=why,
        remedy="write https://endpoint[:port]/bucket/prefix or s3://bucket/prefix",
    )
