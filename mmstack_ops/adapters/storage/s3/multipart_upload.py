"""Write a file to object storage, in constant memory; it is visible only when it is complete."""

from __future__ import annotations

import base64
import secrets
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from mmstack_ops.adapters.storage.quota import Reservation
from mmstack_ops.adapters.storage.s3.calls import S3Calls
from mmstack_ops.adapters.storage.s3.errors import (
    is_missing,
    is_refusal,
    is_taken,
    is_unsupported,
    is_upload_gone,
    taken,
)
from mmstack_ops.adapters.storage.s3.parts import MOST_PARTS, in_flight, part_size
from mmstack_ops.domain.errors import TierError

WRITER = "mmstack-writer"
"""Metadata that distinguishes our object from another writer's under the same key."""


@dataclass(frozen=True)
class _Part:
    number: int
    etag: str
    checksum: str | None


class Upload:
    """A file that is being written: one request if it is small, otherwise a multipart upload.

    Args:
        name: the key within the tier, for messages.
        key: the key within the bucket.
        expected_size: bytes, if known.
        settings: further parameters of the request that creates the object: encryption, object
            lock.
    """

    def __init__(
        self,
        calls: S3Calls,
        name: str,
        key: str,
        *,
        expected_size: int | None,
        settings: Mapping[str, Any],
        reservation: Reservation,
    ) -> None:
        self._calls = calls
        self._name = name
        self._key = key
        self._expected = expected_size
        self._token = secrets.token_hex(16)
        self._settings = {**settings, "Metadata": {WRITER: self._token}}
        self._reservation = reservation
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[_Part] = []
        self._number = 1
        self._running: deque[Future[_Part]] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._stop = threading.Event()
        self._publishing = False
        self.written = 0

    def write(self, data: bytes | memoryview, /) -> int:
        """Append ``data``; see ``FileWriter.write``."""
        view = memoryview(data).cast("B")
        self._reservation.cover(self.written + len(view))
        done = 0
        while done < len(view):
            room = part_size(self._number, self._expected) - len(self._buffer)
            self._buffer += view[done : done + room]
            done += min(room, len(view) - done)
            # A full part is held back until more data follows: a file of that size is small.
            if done < len(view) or self._upload_id is not None:
                self._send_if_full()
        self.written += done
        return done

    def finish(self) -> None:
        """Publish the file.

        Raises:
            ImmutableError: the key was taken meanwhile.
            TierError: it couldn't be published, or it isn't known whether it was.
        """
        if self._upload_id is None:
            self._publishing = True
            self._put()
            return
        if self._buffer:
            self._send()
        self._collect(0)
        self._publishing = True
        self._complete()

    def abort(self, failure: BaseException) -> None:
        """Delete what was sent; if that fails, add a note to ``failure``."""
        self._stop.set()
        for future in self._running:
            future.cancel()
        if self._threads is not None:
            # A part that arrives after the upload was aborted would be kept and charged for.
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._buffer = bytearray()
        try:
            if self._upload_id is not None:
                self._abort_parts(self._upload_id)
            if self._publishing and (found := self._ours()) is not None:
                # Interrupted after the endpoint published it, and before its answer.
                version = {"VersionId": found["VersionId"]} if "VersionId" in found else {}
                self._calls.call("delete_object", Key=self._key, **version)
        except Exception as error:  # The original failure is raised, not this one.
            why = self._calls.failure(error, f"take back {self._name}")
            failure.add_note(f"some of it may stay until the next sweep: {why}")

    def _abort_parts(self, upload_id: str) -> None:
        try:
            self._calls.call("abort_multipart_upload", Key=self._key, UploadId=upload_id)
        except Exception as error:
            if not is_upload_gone(error):
                raise

    def close(self) -> None:
        """Shut down the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def _send_if_full(self) -> None:
        if len(self._buffer) >= part_size(self._number, self._expected):
            self._send()

    def _send(self) -> None:
        if self._upload_id is None:
            self._begin()
        if self._number > MOST_PARTS:
            raise TierError(
                f"{self._name} is too large for an object",
                why=f"an object has at most {MOST_PARTS} parts",
            )
        assert self._threads is not None
        body, self._buffer = self._buffer, bytearray()
        self._running.append(self._threads.submit(self._send_part, self._number, body))
        self._number += 1
        size = len(body)
        del body
        self._collect(in_flight(size))

    def _begin(self) -> None:
        try:
            answer = self._calls.call(
                "create_multipart_upload",
                Key=self._key,
                ChecksumAlgorithm="CRC32",
                **self._settings,
            )
        except Exception as error:
            raise self._failure(error) from None
        self._upload_id = answer["UploadId"]
        self._threads = ThreadPoolExecutor(4, thread_name_prefix=f"upload to {self._calls.tier}")

    def _send_part(self, number: int, body: bytearray) -> _Part:
        checksum = _crc32(body)
        answer = self._checked(
            "upload_part",
            checksum,
            PartNumber=number,
            UploadId=self._upload_id,
            Body=body,
        )
        return _Part(number, answer["ETag"], answer.get("ChecksumCRC32"))

    def _checked(self, operation: str, checksum: str, **parameters: Any) -> dict[str, Any]:
        """Send bytes with their checksum; compare it with the endpoint's checksum."""
        return self._calls.call(
            operation,
            stop=self._stop,
            accept=lambda answer: answer.get("ChecksumCRC32", checksum) == checksum,
            Key=self._key,
            # The algorithm as well: some endpoints check only that.
            ChecksumAlgorithm="CRC32",
            ChecksumCRC32=checksum,
            **parameters,
        )

    def _collect(self, most: int) -> None:
        """Wait until at most ``most`` parts are in flight; raise the first failure."""
        while len(self._running) > most:
            wait(self._running, return_when=FIRST_COMPLETED)
            for future in [future for future in self._running if future.done()]:
                self._running.remove(future)
                try:
                    self._parts.append(future.result())
                except Exception as error:
                    raise self._failure(error) from None

    def _put(self) -> None:
        checksum = _crc32(self._buffer)
        parameters = {"Body": self._buffer, **self._settings}
        try:
            self._unless_taken(
                lambda condition: self._checked("put_object", checksum, **parameters, **condition)
            )
        except Exception as error:
            # The answer may have been lost although the object exists.
            if not self._is_there(error):
                raise self._failure(error) from None

    def _complete(self) -> None:
        parts = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumCRC32": part.checksum} if part.checksum else {})
            for part in sorted(self._parts, key=lambda part: part.number)
        ]
        try:
            self._require_free()
            self._unless_taken(
                lambda condition: self._calls.call(
                    "complete_multipart_upload",
                    Key=self._key,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": parts},
                    **condition,
                )
            )
        except Exception as error:
            if not self._is_there(error):
                raise self._failure(error) from None
        else:
            # An endpoint may report success although it lost data, so check the size.
            self._require_whole()

    def _unless_taken(self, request: Any) -> None:
        try:
            request({"IfNoneMatch": "*"})
        except Exception as error:
            # Older endpoints have no conditional writes: the check before must be enough.
            if not is_unsupported(error):
                raise
            request({})

    def _require_free(self) -> None:
        try:
            self._calls.call("head_object", Key=self._key)
        except Exception as error:
            if is_missing(error):
                return
            raise
        raise taken(self._calls.tier, self._name)

    def _require_whole(self) -> None:
        try:
            found = self._calls.call("head_object", Key=self._key)
        except Exception as error:
            raise self._failure(error) from None
        if found["ContentLength"] != self.written:
            raise TierError(
                f"tier {self._calls.tier} holds {self._name} incompletely",
                why=f"{found['ContentLength']} of {self.written} bytes are there, though the"
                " endpoint said that all was well",
                remedy="run it again; if it stays so, the endpoint isn't fit for backups",
            )

    def _is_there(self, error: Exception) -> bool:
        """Return whether our complete object exists although a request failed.

        This happens if an answer is lost: the retry then finds that the key is taken or that the
        upload no longer exists.
        """
        if not is_refusal(error):
            return False
        try:
            return self._ours() is not None
        except Exception:
            # The first failure is more useful; the caller raises it.
            return False

    def _ours(self) -> dict[str, Any] | None:
        """Return the HEAD answer for the object if this upload created it, otherwise None."""
        try:
            found = self._calls.call("head_object", Key=self._key)
        except Exception as error:
            if is_missing(error):
                return None
            raise
        whole = bool(found["ContentLength"] == self.written)
        ours = found.get("Metadata", {}).get(WRITER) == self._token
        return found if ours and whole else None

    def _failure(self, error: Exception) -> Exception:
        if is_taken(error):
            return taken(self._calls.tier, self._name)
        return self._calls.failure(error, f"write {self._name}")


def _crc32(data: bytes | bytearray) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
