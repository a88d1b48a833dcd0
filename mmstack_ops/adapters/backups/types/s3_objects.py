"""Objects of a store as entries of a tree: listed, described, read, put back."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlencode

from mmstack_ops.adapters.backups.types.s3_client import (
    CONNECTIONS,
    LISTED_ORDER,
    SERVER_WITHOUT_ACLS,
)
from mmstack_ops.adapters.backups.types.s3_settings import grant_arguments, is_unknown, normal_acl
from mmstack_ops.domain.backups.files import TreeFile
from mmstack_ops.domain.errors import FileGoneError, FileVanishedError

# Argument that sets a header → the attribute it is kept as.
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
_EXPIRES, _ACL, _HOLD = "expires", "acl", "legal-hold"
_LOCK_MODE, _LOCK_UNTIL = "lock-mode", "lock-until"
_CHECKSUM = "checksum"
_META, _TAG = "meta:", "tag:"
DELETE_MARKER = "delete-marker"
"""The attribute of an entry that stands for a delete marker."""
_CHECKSUMS = ("SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME")
# Compared by themselves, or not part of what backups of format 1 recorded.
_FIRST_FORMAT = {
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
}
# Between a key and a version's id: no key holds it.
_VERSION = "\0"
# Looked at ahead of the one that is being read.
_AHEAD = CONNECTIONS * 4
# In memory while they are sent, so that several can be sent at once.
_SMALL = 8 << 20
_MOST_PARTS = 9_000
_PARTS_AT_ONCE = 4
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
    """It is a delete marker."""
    id: str = ""
    """Of a version, the current one too; empty where versions weren't listed."""

    @property
    def path(self) -> str:
        """Its path in the tree."""
        path = f"{self.bucket}/{self.key}"
        return f"{path}{_VERSION}{self.version}" if self.version else path


class Objects:
    """The objects of some buckets.

    Args:
        client: see ``s3_client``.
        buckets: their names.
        acls: objects may have an ACL of their own.
    """

    def __init__(self, client: Any, buckets: Iterable[str], *, acls: bool = True) -> None:
        self._client = client
        self.buckets = tuple(buckets)
        self._changed: list[Listed] = []
        self._acls = acls
        self.unread: dict[str, str] = {}
        """Path of what is listed and can't be looked at, or bucket that can't be listed → why."""
        self.gone: set[str] = set()
        """Paths of what was deleted while it was to be read."""
        self._owners: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        """Path → SHA-256 of what was read to its end through ``open``."""

    def listed(self) -> Iterator[Listed]:
        """Yield every current object, bucket by bucket, by key."""
        for bucket in self.buckets:
            for page in self._pages("list_objects_v2", bucket):
                for one in page.get("Contents", ()):
                    yield Listed(
                        bucket, one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"]
                    )

    def history(self) -> Iterator[list[Listed]]:
        """Yield the versions and delete markers of every key, the oldest first.

        Where the last one is an object, it stands as the current one (``version`` is empty).
        """
        for bucket in self.buckets:
            # Newest first by key; a page may end in the middle of one.
            waiting: dict[str, list[tuple[bool, Listed]]] = {}
            for page in self._pages("list_object_versions", bucket):
                found = [(one, False) for one in page.get("Versions", ())]
                found += [(one, True) for one in page.get("DeleteMarkers", ())]
                # Two of one second are told apart by their order only.
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
        """Yield the pages of a listing; a bucket that can't be listed is put into ``unread``."""
        from botocore.exceptions import ClientError

        try:
            yield from self._client.get_paginator(call).paginate(Bucket=bucket)
        except ClientError as error:
            if len(self.buckets) == 1:
                raise
            code = error.response["Error"]["Code"]
            self.unread[bucket] = f"the server refused {error.operation_name}: code {code}"

    def files(self, listed: Iterable[Listed]) -> Iterator[TreeFile]:
        """Yield objects with metadata and tags; those that ``open`` found changed once more.

        One that can't be looked at is put into ``unread``.
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
            attributes=_attributes(head, tags, acl),
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
            # The server has no such thing: no object of it can have one.
            self._acls = False
            return []

    def open(self, file: TreeFile) -> BinaryIO:
        """Open an object as ``files`` described it.

        Raises:
            FileGoneError: it was deleted, or changed: then ``files`` yields it again.
            FileVanishedError: the server doesn't hand it out.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if DELETE_MARKER in file.attributes:
            return io.BytesIO()
        bucket, key, old = _place(file.path)
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

    def put(
        self, contents: Iterable[tuple[TreeFile, BinaryIO | None]]
    ) -> tuple[int, dict[str, str]]:
        """Store objects with their metadata and tags.

        Returns:
            How many, and those that the server refused: path → why.
        """
        refused: dict[str, str] = {}
        count = 0

        def small(file: TreeFile, content: bytes) -> None:
            self._try(file.path, refused, lambda: self._put_small(file, content))

        def large(file: TreeFile, content: BinaryIO) -> None:
            self._try(file.path, refused, lambda: self._put_large(file, content))

        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="put") as pool:
            waiting: deque[Future[None]] = deque()
            for file, content in contents:
                if content is None:
                    continue
                count += 1
                if file.size > _SMALL:
                    large(file, content)
                    continue
                waiting.append(pool.submit(small, file, content.read()))
                if len(waiting) >= CONNECTIONS * 2:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        return count - len(refused), refused

    def _try(self, path: str, refused: dict[str, str], work: Callable[[], None]) -> None:
        """Do it; what the server refuses of this one object is noted.

        Raises:
            ClientError: the server itself fails: all others would as well.
        """
        from botocore.exceptions import ClientError, ParamValidationError

        try:
            work()
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode", 500) >= 500:
                raise
            code = error.response["Error"].get("Code", "unknown")
            refused[path] = f"the server refused {error.operation_name}: code {code}"
        except (ParamValidationError, ValueError) as error:
            # Such as a header Expires that is no date.
            refused[path] = f"it can't be sent: {type(error).__name__}"

    def delete(self, paths: Iterable[str]) -> dict[str, str]:
        """Delete objects, or versions of them, by path; return what was refused: path → why."""
        refused: dict[str, str] = {}

        def one(path: str) -> None:
            bucket, key, version = _place(path)
            which = {"VersionId": version} if version else {}
            self._try(
                path,
                refused,
                lambda: self._client.delete_object(Bucket=bucket, Key=key, **which),
            )

        for _ in in_order(one, paths):
            pass
        return refused

    def digest(self, path: str, algorithm: str = "sha256") -> str:
        """Return the digest of an object's content; ``gone`` when it isn't there."""
        from botocore.exceptions import ClientError

        bucket, key, version = _place(path)
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

    def _put_small(self, file: TreeFile, content: bytes) -> None:
        bucket, key, _ = _place(file.path)
        if DELETE_MARKER in file.attributes:
            self._client.delete_object(Bucket=bucket, Key=key)
            return
        checksum, _, value = file.attributes.get(_CHECKSUM, "").partition(":")
        own = {f"Checksum{checksum}": value} if checksum else {}
        self._client.put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            # A bucket whose objects are locked takes nothing without it.
            ContentMD5=_md5(content),
            **own,
            **_arguments(file),
            **self._grants(file),
        )

    def _put_large(self, file: TreeFile, content: BinaryIO) -> None:
        bucket, key, _ = _place(file.path)
        # Parts of a fixed size would end at 78 GiB: an upload has 10,000 at most.
        size = max(_SMALL, -(-file.size // _MOST_PARTS))
        which = {"Bucket": bucket, "Key": key}
        arguments = _arguments(file) | self._grants(file)
        which["UploadId"] = self._client.create_multipart_upload(**which, **arguments)["UploadId"]
        try:
            parts = self._parts(which, content, size)
            self._client.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
        except BaseException:
            # Also an interruption: parts that nobody finishes take room for ever.
            self._client.abort_multipart_upload(**which)
            raise

    def _parts(
        self, which: Mapping[str, str], content: BinaryIO, size: int
    ) -> list[dict[str, Any]]:
        def send(number: int, block: bytes) -> dict[str, Any]:
            made = self._client.upload_part(
                **which, PartNumber=number, Body=block, ContentMD5=_md5(block)
            )
            return {"PartNumber": number, "ETag": made["ETag"]}

        done: list[dict[str, Any]] = []
        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="part") as pool:
            waiting: deque[Future[dict[str, Any]]] = deque()
            number = 0
            while block := _whole(content, size):
                number += 1
                waiting.append(pool.submit(send, number, block))
                if len(waiting) >= _PARTS_AT_ONCE:
                    done.append(waiting.popleft().result())
            done += [future.result() for future in waiting]
        return done

    def _grants(self, file: TreeFile) -> dict[str, str]:
        """Return the arguments that give an object its ACL again."""
        grants = file.attributes.get(_ACL)
        if not grants:
            return {}
        bucket, _, _ = _place(file.path)
        if bucket not in self._owners:
            owner = self._client.get_bucket_acl(Bucket=bucket).get("Owner", {})
            self._owners[bucket] = owner.get("ID", "")
        return grant_arguments(json.loads(grants), self._owners[bucket])


class _Body:
    """An object's content: failures of the network are an ``OSError``, its digest is told."""

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
            # As a name: its text may hold a signed URL.
            why = f"the transfer was cut off ({type(error).__name__})"
            self._objects.unread[self._path] = why
            raise OSError(why) from None
        self._digest.update(block)
        if not block or size < 0:
            self._objects.digests[self._path] = self._digest.hexdigest()
        return block

    def close(self) -> None:
        self._body.close()


def described(file: TreeFile) -> str:
    """Return what of an object must come back the same, but its content."""
    own = {n: v for n, v in file.attributes.items() if n not in (_CHECKSUM, *_LOCKS)}
    text = f"{file.size} bytes, attributes {_digest_of(own)}"
    if lock := " ".join(file.attributes[name] for name in _LOCKS if name in file.attributes):
        text += f" lock={lock.replace(' ', '/')}"
    if checksum := file.attributes.get(_CHECKSUM):
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
    """Return the MD5 of an object's content where its ETag is that; else nothing."""
    etag = file.version.partition(" ")[0]
    by_key = file.attributes.get("encryption", "AES256") != "AES256"
    return etag if is_md5(etag) and not by_key else ""


def is_md5(etag: str) -> bool:
    """Return whether an ETag may be the MD5 of the content: that of parts has a dash."""
    return len(etag) == 32 and all(letter in "0123456789abcdef" for letter in etag)


def lacks(file: TreeFile) -> set[str]:
    """Return which defaults of a bucket an object was put without."""
    if DELETE_MARKER in file.attributes:
        return set()
    without = set()
    if "encryption" not in file.attributes:
        without.add("encryption")
    if _LOCK_MODE not in file.attributes:
        without.add("object_lock")
    return without


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


def _attributes(
    head: Mapping[str, Any], tags: Iterable[Mapping[str, str]], acl: list[list[str]]
) -> dict[str, str]:
    attributes = {name: head[header] for header, name in _HEADERS.items() if head.get(header)}
    if attributes.get("storage-class") == "STANDARD":
        del attributes["storage-class"]
    # As it was sent: boto3 knows only dates.
    if expires := head["ResponseMetadata"]["HTTPHeaders"].get("expires"):
        attributes[_EXPIRES] = expires
    if acl:
        attributes[_ACL] = json.dumps(acl)
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        attributes[_HOLD] = "ON"
    until = head.get("ObjectLockRetainUntilDate")
    if head.get("ObjectLockMode") and until is not None:
        attributes[_LOCK_MODE] = head["ObjectLockMode"]
        attributes[_LOCK_UNTIL] = until.astimezone(UTC).isoformat(timespec="milliseconds")
    for name in _CHECKSUMS:
        value = head.get(f"Checksum{name}")
        # That of an object in parts depends on where they end: a store makes it anew.
        if value and "-" not in value and head["ContentLength"] <= _SMALL:
            attributes[_CHECKSUM] = f"{name}:{value}"
            break
    attributes |= {_META + name: value for name, value in head["Metadata"].items()}
    attributes |= {_TAG + tag["Key"]: tag["Value"] for tag in tags}
    return attributes


def _arguments(file: TreeFile) -> dict[str, Any]:
    """Return the arguments that give an object its metadata, tags and locks again."""
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
    # One that is over can't be set again, and means nothing.
    if until is not None and until > datetime.now(UTC):
        arguments["ObjectLockMode"] = attributes[_LOCK_MODE]
        arguments["ObjectLockRetainUntilDate"] = until
    return arguments


def lock_end(text: str) -> datetime | None:
    """Return the moment at which a recorded retention ends; None where there is none."""
    return datetime.fromisoformat(text) if text else None


def as_sent(value: str) -> str:
    """Return the text of a header as it was sent, from what an HTTP client made of its bytes."""
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


def _place(path: str) -> tuple[str, str, str]:
    """Return bucket, key and version (empty for the current one) of a path."""
    bucket, _, rest = path.partition("/")
    key, _, version = rest.partition(_VERSION)
    return bucket, key, version


def _oldest_first(versions: list[tuple[bool, Listed]]) -> list[Listed]:
    # Listed newest first; the current one is the last whatever the clock said.
    versions.reverse()
    return [one for _, one in sorted(versions, key=lambda pair: (pair[0], pair[1].modified))]


def _digest_of(attributes: Mapping[str, str]) -> str:
    text = json.dumps(dict(attributes), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _whole(content: BinaryIO, size: int) -> bytes:
    """Read up to ``size`` bytes, fewer only at the end."""
    blocks: list[bytes] = []
    while size and (block := content.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
