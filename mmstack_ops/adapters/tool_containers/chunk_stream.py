"""Present the chunks that the engine sends as a file."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from mmstack_ops.domain.errors import CancelledError


class ChunkStream(io.RawIOBase):
    """An iterator of byte strings, as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes], cancel: threading.Event) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._cancel = cancel

    def readable(self) -> bool:
        """Return True: the stream is readable."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer`` and return the number of bytes, 0 at the end."""
        if self._cancel.is_set():
            raise CancelledError("cancelled while files of a container were read")
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer)  # type: ignore[arg-type]
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Close the engine's stream."""
        if not self.closed and hasattr(self._chunks, "close"):
            self._chunks.close()
        super().close()
