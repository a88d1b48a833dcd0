"""Read a file from object storage, and resume it after lost connections."""

from __future__ import annotations

from typing import Any

from mmstack_ops.adapters.storage.s3.calls import S3Calls
from mmstack_ops.adapters.storage.s3.errors import (
    ConnectionCutError,
    answer_of,
    is_missing,
    is_transient,
)
from mmstack_ops.domain.errors import FileMissingError, TierError

_PIECE = 1 << 20
# Lost connections in a row without a byte between them.
_MOST_CUTS = 5


class Download:
    """An object, read from start to end. After a lost connection, reading resumes where it ended.

    Args:
        name: the key within the tier, for messages.
        key: the key within the bucket.

    Raises:
        FileMissingError: there is no such object.
        TierError: the request was refused.
    """

    def __init__(self, calls: S3Calls, name: str, key: str) -> None:
        self._calls = calls
        self._name = name
        self._key = key
        self._position = 0
        self._cuts = 0
        answer = self._request()
        self._size: int = answer["ContentLength"]
        self._etag: str = answer["ETag"]
        self._body: Any = answer["Body"]

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; see ``FileReader.read``."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        wanted = min(size, self._size - self._position)
        while wanted:
            try:
                if self._body is None:
                    self._resume()
                data: bytes = self._body.read(wanted)
            except TierError:
                raise
            except Exception as error:
                self._after_cut(error)
                continue
            if data:
                self._position += len(data)
                self._cuts = 0
                return data
            self._after_cut(ConnectionCutError())
        return b""

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _resume(self) -> None:
        answer = self._request(Range=f"bytes={self._position}-", IfMatch=self._etag)
        begins = f"bytes {self._position}-"
        if not str(answer.get("ContentRange", "")).startswith(begins):
            answer["Body"].close()
            raise TierError(
                f"tier {self._calls.tier} can't read {self._name} on",
                why="the endpoint doesn't answer requests for a range",
                remedy="the connection to it is cut before the end; find out by what",
            )
        self._body = answer["Body"]

    def _request(self, **parameters: Any) -> dict[str, Any]:
        try:
            return self._calls.call("get_object", Key=self._key, **parameters)
        except Exception as error:
            answer = answer_of(error)
            if is_missing(error) or (answer is not None and answer.status == 412):
                raise FileMissingError(
                    f"tier {self._calls.tier} holds no file {self._name}"
                    + (" any more" if self._position else "")
                ) from None
            raise self._calls.failure(error, f"read {self._name}") from None

    def _after_cut(self, error: Exception) -> None:
        self._cuts += 1
        self.close()
        if self._cuts >= _MOST_CUTS or not is_transient(error):
            raise self._calls.failure(error, f"read {self._name}") from None
