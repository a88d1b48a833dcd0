"""List, describe and read the objects of a store as entries of a tree."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar, cast

from mmstack_ops.adapters.stores.s3.attributes import DELETE_MARKER, attributes_of
from mmstack_ops.adapters.stores.s3.client import (
    CONNECTIONS,
    LISTED_ORDER,
    SERVER_WITHOUT_ACLS,
)
from mmstack_ops.adapters.stores.s3.settings import is_unknown, normal_acl
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileGoneError, FileVanishedError

# Separates a key from a version id: no key contains it.
_VERSION = "\0"
# Number of objects that are described ahead of the one that is being read.
_AHEAD = CONNECTIONS * 4
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "412", "PreconditionFailed")

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Listed:
    """An object, or one of its versions, as a listing shows it."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    version: str = ""
    """The id of a version that isn't current; empty for the current one."""
    marker: bool = False
    """Whether it is a delete marker."""
    id: str = ""
    """The version id, also of the current version; empty if versions weren't listed."""

    @property
    def path(self) -> str:
        """The path in the tree."""
        path = f"{self.bucket}/{self.key}"
        return f"{path}{_VERSION}{self.version}" if self.version else path


class Objects:
    """The objects of some buckets.

    Args:
        client: see ``s3_client``.
        buckets: their names.
        acls: whether objects may have their own ACLs.
    """

    def __init__(self, client: Any, buckets: Iterable[str], *, acls: bool = True) -> None:
        self._client = client
        self.buckets = tuple(buckets)
        self._changed: list[Listed] = []
        self._acls = acls
        self.unread: dict[str, str] = {}
        """Path of a listed object that can't be read, or bucket that can't be listed → why."""
        self.gone: set[str] = set()
        """Paths of objects that were deleted before they were read."""
        self.digests: dict[str, str] = {}
        """Path → SHA-256 of objects that were read to the end through ``open``."""

    def listed(self) -> Iterator[Listed]:
        """Yield all current objects, bucket by bucket, in key order."""
        for bucket in self.buckets:
            for page in self._pages("list_objects_v2", bucket):
                for one in page.get("Contents", ()):
                    yield Listed(
                        bucket, one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"]
                    )

    def history(self) -> Iterator[list[Listed]]:
        """Yield the versions and delete markers of every key, oldest first.

        If the last one is an object, it is the current version (``version`` is empty).
        """
        for bucket in self.buckets:
            # Newest first for each key; a page may end in the middle of a key.
            waiting: dict[str, list[tuple[bool, Listed]]] = {}
            for page in self._pages("list_object_versions", bucket):
                found = [(one, False) for one in page.get("Versions", ())]
                found += [(one, True) for one in page.get("DeleteMarkers", ())]
                # Versions of the same second differ in their order only.
                order = {name: at for at, name in enumerate(page.get(LISTED_ORDER, ()))}
                found.sort(key=lambda pair: order.get(pair[0]["VersionId"], 0))
                for one, marker in found:
                    latest = bool(one["IsLatest"])
                    listed = Listed(
                        bucket,
                        one["Key"],
                        0 if marker else one["Size"],
                        "" if marker else one["ETag"].strip('"'),
                        one["LastModified"],
                        "" if latest and not marker else one["VersionId"],
                        marker,
                        one["VersionId"],
                    )
                    waiting.setdefault(one["Key"], []).append((latest, listed))
                last = max(waiting, default="", key=lambda key: key.encode())
                for key in [key for key in waiting if key != last]:
                    yield _oldest_first(waiting.pop(key))
            for versions in waiting.values():
                yield _oldest_first(versions)

    def _pages(self, call: str, bucket: str) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing; add a bucket that can't be listed to ``unread``."""
        from botocore.exceptions import ClientError

        try:
            yield from self._client.get_paginator(call).paginate(Bucket=bucket)
        except ClientError as error:
            if len(self.buckets) == 1:
                raise
            code = error.response["Error"]["Code"]
            self.unread[bucket] = f"the server refused {error.operation_name}: code {code}"

    def files(self, listed: Iterable[Listed]) -> Iterator[TreeFile]:
        """Yield objects with metadata and tags; repeat those that ``open`` found changed.

        Objects that can't be read are added to ``unread``.
        """
        yield from self._described(listed)
        while self._changed:
            again, self._changed = self._changed, []
            yield from self._described(again)

    def _described(self, listed: Iterable[Listed]) -> Iterator[TreeFile]:
        for file in in_order(self._describe, listed):
            if file is not None:
                yield file

    def _describe(self, one: Listed) -> TreeFile | None:
        from botocore.exceptions import BotoCoreError, ClientError

        if one.marker:
            return TreeFile(
                path=one.path,
                kind="object",
                mtime_ns=_nanoseconds(one.modified),
                version=one.version,
                attributes={DELETE_MARKER: "true"},
            )
        which = {"Bucket": one.bucket, "Key": one.key}
        if one.version:
            which["VersionId"] = one.version
        try:
            head = self._client.head_object(**which, ChecksumMode="ENABLED")
            tags = self._client.get_object_tagging(**which)["TagSet"]
            acl = self._acl_of(which, head)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                self.gone.add(one.path)
                return None
            self.unread[one.path] = f"the server refused {error.operation_name}: code {code}"
            return None
        except BotoCoreError as error:
            self.unread[one.path] = f"the server's answer can't be read: {type(error).__name__}"
            return None
        version = head.get("VersionId") or ""
        return TreeFile(
            path=one.path,
            kind="object",
            size=head["ContentLength"],
            mtime_ns=_nanoseconds(head["LastModified"]),
            version=f"{head['ETag'].strip(chr(34))} {version}".rstrip(),
            attributes=attributes_of(head, tags, acl),
        )

    def _acl_of(self, which: Mapping[str, str], head: Mapping[str, Any]) -> list[list[str]]:
        from botocore.exceptions import ClientError

        if head["ResponseMetadata"]["HTTPHeaders"].get("server") in SERVER_WITHOUT_ACLS:
            self._acls = False
        if not self._acls:
            return []
        try:
            return normal_acl(self._client.get_object_acl(**which))
        except ClientError as error:
            if not is_unknown(error):
                raise
            # The server doesn't implement ACLs: none of its objects can have one.
            self._acls = False
            return []

    def open(self, file: TreeFile) -> BinaryIO:
        """Open an object as ``files`` described it.

        Raises:
            FileGoneError: it was deleted or changed; if changed, ``files`` yields it again.
            FileVanishedError: the server doesn't return it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if DELETE_MARKER in file.attributes:
            return io.BytesIO()
        bucket, key, old = place(file.path)
        etag, _, version = file.version.partition(" ")
        version = old or version
        wanted = {"VersionId": version} if version else {"IfMatch": etag}
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **wanted)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _MISSING:
                raise self._unreadable(
                    file.path, f"the server refused {error.operation_name}: code {code}"
                ) from None
            if code in ("412", "PreconditionFailed"):
                moment = datetime.fromtimestamp(0).astimezone()
                self._changed.append(Listed(bucket, key, 0, "", moment))
            else:
                self.gone.add(file.path)
            raise FileGoneError(f"{file.path!r} was deleted or overwritten meanwhile") from None
        except BotoCoreError as error:
            raise self._unreadable(file.path, type(error).__name__) from None
        return cast("BinaryIO", _Body(answer["Body"], self, file.path))

    def _unreadable(self, path: str, why: str) -> FileVanishedError:
        self.unread[path] = why
        return FileVanishedError(f"{path!r} can't be read", why=why)

    def digest(self, path: str, algorithm: str = "sha256") -> str:
        """Return the digest of an object's content; ``gone`` if it doesn't exist."""
        from botocore.exceptions import ClientError

        bucket, key, version = place(path)
        which = {"VersionId": version} if version else {}
        digest = hashlib.new(algorithm, usedforsecurity=False)
        try:
            body = self._client.get_object(Bucket=bucket, Key=key, **which)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return "gone"
            raise
        with body:
            while block := body.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


class _Body:
    """The content of an object; records its digest, raises ``OSError`` on network failures."""

    def __init__(self, body: Any, objects: Objects, path: str) -> None:
        self._body = body
        self._digest = hashlib.sha256()
        self._objects = objects
        self._path = path

    def read(self, size: int = -1) -> bytes:
        from botocore.exceptions import BotoCoreError

        try:
            block: bytes = self._body.read(None if size < 0 else size)
        except BotoCoreError as error:
            # Only its name: its text may contain a signed URL.
            why = f"the transfer was cut off ({type(error).__name__})"
            self._objects.unread[self._path] = why
            raise OSError(why) from None
        self._digest.update(block)
        if not block or size < 0:
            self._objects.digests[self._path] = self._digest.hexdigest()
        return block

    def close(self) -> None:
        self._body.close()


def in_order(work: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Call ``work`` for each in several threads, a few ahead; yield the results in order."""
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="s3") as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for one in given:
                waiting.append(pool.submit(work, one))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def place(path: str) -> tuple[str, str, str]:
    """Return the bucket, the key and the version (empty for the current one) of a path."""
    bucket, _, rest = path.partition("/")
    key, _, version = rest.partition(_VERSION)
    return bucket, key, version


def _oldest_first(versions: list[tuple[bool, Listed]]) -> list[Listed]:
    # Listed newest first; the current version comes last, regardless of the times.
    versions.reverse()
    return [one for _, one in sorted(versions, key=lambda pair: (pair[0], pair[1].modified))]


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000
