"""Objects of a store as entries of a tree: listed, described, read, put back."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlencode

from mmstack_ops.adapters.backups.types.s3_client import CONNECTIONS
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileGoneError

# Header of an answer → the argument that sets it again.
_HEADERS = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
}
_META, _TAG = "meta:", "tag:"
# Looked at ahead of the one that is being read.
_AHEAD = CONNECTIONS * 4
# In memory while they are sent, so that several can be sent at once.
_SMALL = 8 << 20
_MOST_PARTS = 9_000
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "412", "PreconditionFailed")

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime

    @property
    def path(self) -> str:
        """Its path in the tree."""
        return f"{self.bucket}/{self.key}"


class Objects:
    """The objects of some buckets.

    Args:
        client: see ``s3_client``.
        buckets: their names.
    """

    def __init__(self, client: Any, buckets: Iterable[str]) -> None:
        self._client = client
        self.buckets = tuple(buckets)
        self._changed: list[Listed] = []

    def listed(self) -> Iterator[Listed]:
        """Yield every object, bucket by bucket, by key."""
        for bucket in self.buckets:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for page in pages:
                for one in page.get("Contents", ()):
                    yield Listed(
                        bucket, one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"]
                    )

    def files(self, listed: Iterable[Listed]) -> Iterator[TreeFile]:
        """Yield objects with metadata and tags; those that ``open`` found changed once more."""
        yield from self._described(listed)
        while self._changed:
            again, self._changed = self._changed, []
            yield from self._described(again)

    def _described(self, listed: Iterable[Listed]) -> Iterator[TreeFile]:
        for file in in_order(self._describe, listed):
            if file is not None:
                yield file

    def _describe(self, one: Listed) -> TreeFile | None:
        from botocore.exceptions import ClientError

        try:
            head = self._client.head_object(Bucket=one.bucket, Key=one.key)
            tags = self._client.get_object_tagging(Bucket=one.bucket, Key=one.key)["TagSet"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        attributes = {name: head[header] for header, name in _HEADERS.items() if head.get(header)}
        attributes |= {_META + name: value for name, value in head["Metadata"].items()}
        attributes |= {_TAG + tag["Key"]: tag["Value"] for tag in tags}
        version = head.get("VersionId") or ""
        return TreeFile(
            path=one.path,
            kind="object",
            size=head["ContentLength"],
            mtime_ns=int(head["LastModified"].timestamp()) * 1_000_000_000,
            version=f"{head['ETag'].strip(chr(34))} {version}".rstrip(),
            attributes=attributes,
        )

    def open(self, file: TreeFile) -> BinaryIO:
        """Open an object as ``files`` described it.

        Raises:
            FileGoneError: it was deleted, or changed: then ``files`` yields it again.
        """
        from botocore.exceptions import ClientError

        bucket, _, key = file.path.partition("/")
        etag, _, version = file.version.partition(" ")
        wanted = {"VersionId": version} if version else {"IfMatch": etag}
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **wanted)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _MISSING:
                raise
            if code in ("412", "PreconditionFailed"):
                moment = datetime.fromtimestamp(0).astimezone()
                self._changed.append(Listed(bucket, key, 0, "", moment))
            raise FileGoneError(f"{file.path!r} was deleted or overwritten meanwhile") from None
        return cast("BinaryIO", answer["Body"])

    def put(self, contents: Iterable[tuple[TreeFile, BinaryIO | None]]) -> int:
        """Store objects with their metadata and tags; return how many."""
        count = 0
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="put") as pool:
            waiting: deque[Future[None]] = deque()
            for file, content in contents:
                if content is None:
                    continue
                count += 1
                if file.size > _SMALL:
                    self._put_large(file, content)
                    continue
                waiting.append(pool.submit(self._put_small, file, content.read()))
                if len(waiting) >= CONNECTIONS * 2:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        return count

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects by path."""

        def one(path: str) -> None:
            bucket, _, key = path.partition("/")
            self._client.delete_object(Bucket=bucket, Key=key)

        for _ in in_order(one, paths):
            pass

    def digest(self, path: str) -> str:
        """Return the SHA-256 of an object's content; ``gone`` when it isn't there."""
        from botocore.exceptions import ClientError

        bucket, _, key = path.partition("/")
        digest = hashlib.sha256()
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return "gone"
            raise
        with body:
            while block := body.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def _put_small(self, file: TreeFile, content: bytes) -> None:
        bucket, _, key = file.path.partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=content, **_arguments(file))

    def _put_large(self, file: TreeFile, content: BinaryIO) -> None:
        bucket, _, key = file.path.partition("/")
        from boto3.s3.transfer import TransferConfig

        # Parts of its default size end at 78 GiB: an upload has 10,000 at most.
        part = max(_SMALL, -(-file.size // _MOST_PARTS))
        self._client.upload_fileobj(
            _Plain(content),
            bucket,
            key,
            ExtraArgs=_arguments(file),
            Config=TransferConfig(multipart_chunksize=part),
        )


class _Plain:
    """A file that boto3 can only read: it would close it otherwise."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        return self._source.read(size)


def described(file: TreeFile) -> str:
    """Return what of an object must come back the same, but its content."""
    text = json.dumps(dict(file.attributes), sort_keys=True, ensure_ascii=False)
    return f"{file.size} bytes {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def in_order(work: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Do ``work`` for each in several threads, a few ahead; yield the results in order."""
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


def _arguments(file: TreeFile) -> dict[str, Any]:
    """Return the arguments that give an object its metadata and tags again."""
    arguments: dict[str, Any] = {
        header: file.attributes[name]
        for header, name in _HEADERS.items()
        if name in file.attributes
    }
    metadata = _named(file.attributes, _META)
    tags = _named(file.attributes, _TAG)
    if metadata:
        arguments["Metadata"] = metadata
    if tags:
        arguments["Tagging"] = urlencode(tags)
    return arguments


def _named(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }
