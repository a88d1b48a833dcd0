"""Put and delete objects; continue if the store refuses one of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from mmstack_ops.adapters.stores.s3.attributes import (
    ACL,
    CHECKSUM,
    DELETE_MARKER,
    IN_ONE_PART,
    arguments_of,
)
from mmstack_ops.adapters.stores.s3.client import CONNECTIONS
from mmstack_ops.adapters.stores.s3.objects import in_order, place
from mmstack_ops.adapters.stores.s3.settings import grant_arguments
from mmstack_ops.domain.backups.files import TreeFile

# Up to this size, objects are sent from memory, so that several can be sent at once.
_SMALL = IN_ONE_PART
_MOST_PARTS = 9_000
_PARTS_AT_ONCE = 4


class Uploads:
    """Puts and deletes objects of a store.

    Args:
        client: see ``s3_client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._owners: dict[str, str] = {}

    def put(
        self, contents: Iterable[tuple[TreeFile, BinaryIO | None]]
    ) -> tuple[int, dict[str, str]]:
        """Store objects with their metadata and tags.

        Returns:
            The number of stored objects, and those that the server refused: path → why.
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
        """Call ``work``; record in ``refused`` if the server refuses this object.

        Raises:
            ClientError: the server itself fails: all other objects would fail as well.
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
            # Such as an Expires header that isn't a date.
            refused[path] = f"it can't be sent: {type(error).__name__}"

    def delete(self, paths: Iterable[str]) -> dict[str, str]:
        """Delete objects, or versions of them, by path; return what was refused: path → why."""
        refused: dict[str, str] = {}

        def one(path: str) -> None:
            bucket, key, version = place(path)
            which = {"VersionId": version} if version else {}
            self._try(
                path,
                refused,
                lambda: self._client.delete_object(Bucket=bucket, Key=key, **which),
            )

        for _ in in_order(one, paths):
            pass
        return refused

    def _put_small(self, file: TreeFile, content: bytes) -> None:
        bucket, key, _ = place(file.path)
        if DELETE_MARKER in file.attributes:
            self._client.delete_object(Bucket=bucket, Key=key)
            return
        checksum, _, value = file.attributes.get(CHECKSUM, "").partition(":")
        # With the algorithm: stores keep the checksum only if the upload names it.
        own = {"ChecksumAlgorithm": checksum, f"Checksum{checksum}": value} if checksum else {}
        self._client.put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            # Buckets with object lock require it.
            ContentMD5=_md5(content),
            **own,
            **arguments_of(file),
            **self._grants(file),
        )

    def _put_large(self, file: TreeFile, content: BinaryIO) -> None:
        bucket, key, _ = place(file.path)
        # Parts of a fixed size would limit objects to 78 GiB: an upload has at most 10,000 parts.
        size = max(_SMALL, -(-file.size // _MOST_PARTS))
        which = {"Bucket": bucket, "Key": key}
        arguments = arguments_of(file) | self._grants(file)
        which["UploadId"] = self._client.create_multipart_upload(**which, **arguments)["UploadId"]
        try:
            parts = self._parts(which, content, size)
            self._client.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
        except BaseException:
            # Also on an interruption: parts of an unfinished upload take up space forever.
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
        """Return the arguments that restore an object's ACL."""
        grants = file.attributes.get(ACL)
        if not grants:
            return {}
        bucket, _, _ = place(file.path)
        if bucket not in self._owners:
            owner = self._client.get_bucket_acl(Bucket=bucket).get("Owner", {})
            self._owners[bucket] = owner.get("ID", "")
        return grant_arguments(json.loads(grants), self._owners[bucket])


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _whole(content: BinaryIO, size: int) -> bytes:
    """Return ``size`` bytes, or fewer at the end."""
    blocks: list[bytes] = []
    while size and (block := content.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
