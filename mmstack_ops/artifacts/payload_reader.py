"""Read a payload in constant memory: stored payload → SHA-256 → age → zstd → plain bytes.

A second thread reads, hashes and decrypts; the calling thread decompresses and hashes.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmstack_ops.artifacts.channel import Channel, ChannelClosedError, ChannelReader
from mmstack_ops.artifacts.encryption import Keys, damaged
from mmstack_ops.artifacts.payload_writer import BLOCK
from mmstack_ops.domain.errors import ArtifactError, FileMissingError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.manifest import Payload
    from mmstack_ops.domain.backups.tier import FileReader, Tier


class PayloadReader(io.RawIOBase):
    """A reader of a payload's plain bytes. Created by ``opened``."""

    def __init__(
        self, source: FileReader, payload: Payload, keys: Keys, what: str, *, hashed: bool
    ) -> None:
        import zstandard

        super().__init__()
        self._payload = payload
        self._what = what
        self._channel = Channel()
        self._source = _Source(self._channel, source, payload, keys, what)
        self._source.start()
        stored: Any = ChannelReader(self._channel)
        self._plain = stored
        self._broken: type[Exception] = zstandard.ZstdError
        if payload.compression == "zstd":
            self._plain = zstandard.ZstdDecompressor().stream_reader(
                stored, read_size=BLOCK, read_across_frames=True
            )
        self._hash = hashlib.sha256() if hashed else None
        self._count = 0
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` as far as possible; return the number of bytes, 0 at the end.

        Raises:
            ArtifactError: the stored bytes differ from what was written. Raised at the end at
                the latest.
            TierError: the tier failed.
        """
        target = memoryview(buffer).cast("B")
        data = self._next(len(target))
        target[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end; all for -1. Raises like ``readinto``."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self._next(BLOCK), b""))
        first = self._next(size)
        if len(first) == size or not first:
            return first
        blocks = [first]
        missing = size - len(first)
        while missing and (block := self._next(missing)):
            blocks.append(block)
            missing -= len(block)
        return b"".join(blocks)

    def abandon(self) -> None:
        """Stop reading. The second thread has ended when this returns."""
        self._channel.fail()
        self._source.join()

    def _next(self, size: int) -> bytes:
        if self._ended or not size:
            return b""
        try:
            block: bytes = self._plain.read(size)
        except self._broken as error:
            raise damaged(self._what, f"it doesn't decompress: {error}") from None
        if self._hash is not None:
            self._hash.update(block)
        self._count += len(block)
        if self._count > self._payload.plain_bytes:
            raise damaged(self._what, f"more than {self._payload.plain_bytes} bytes came out of it")
        if not block:
            self._finish()
        return block

    def _finish(self) -> None:
        # Bytes after the last zstd frame are part of the stored bytes too.
        while self._channel.get():
            pass
        self._ended = True
        self._source.check()
        if self._count != self._payload.plain_bytes:
            raise damaged(
                self._what,
                f"{self._count} of {self._payload.plain_bytes} bytes came out of it: it is cut off",
            )
        if self._hash is not None and self._hash.hexdigest() != self._payload.plain_sha256:
            raise damaged(self._what, "its content has another SHA-256 than the one recorded")


class _Source:
    """The second thread: reads, hashes, decrypts."""

    def __init__(
        self, channel: Channel, source: FileReader, payload: Payload, keys: Keys, what: str
    ) -> None:
        self._channel = channel
        self._reader = source
        self._payload = payload
        self._keys = keys
        self._what = what
        self._hash = hashlib.sha256()
        self._count = 0
        self._left = b""
        self._thread = threading.Thread(target=self._run, name="backup-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def check(self) -> None:
        """Compare what was read with what was written. Call it after everything was read."""
        if self._count != self._payload.stored_bytes:
            raise damaged(
                self._what,
                f"{self._count} bytes are stored, {self._payload.stored_bytes} were written",
            )
        if self._hash.hexdigest() != self._payload.sha256:
            raise damaged(self._what, "the stored bytes have another SHA-256 than was recorded")

    def _run(self) -> None:
        try:
            if self._payload.encryption == "age":
                gathering = io.BufferedWriter(_Into(self._channel), BLOCK)
                buffered = io.BufferedReader(_From(self._next), BLOCK)
                self._keys.decrypt_stream(buffered, gathering, what=self._what)
                gathering.flush()
                # age stops at its last block; mmstack never writes anything after it.
                while self._next():
                    pass
            else:
                while block := self._next():
                    self._channel.put(block)
            self._channel.finish()
        except ChannelClosedError:
            pass  # The caller stopped early.
        except BaseException as error:
            # Passed to the thread that reads: `get` raises it there.
            self._channel.fail(error)

    def _next(self) -> bytes:
        block = self._reader.read(BLOCK)
        self._hash.update(block)
        self._count += len(block)
        return block


class _Into(io.RawIOBase):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        # The buffer of `data` is reused immediately: the other side needs its own copy.
        block = bytes(data)
        self._channel.put(block)
        return len(block)


class _From(io.RawIOBase):
    def __init__(self, next_block: Callable[[], bytes]) -> None:
        super().__init__()
        self._next_block = next_block
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            self._left = memoryview(self._next_block())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._left))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


@contextmanager
def opened(
    tier: Tier, key: str, payload: Payload, keys: Keys, *, hashed: bool = True
) -> Iterator[PayloadReader]:
    """Yield a reader of the payload that is stored under ``key``.

    Sizes and hashes are checked at the end of the payload, not if the block is left earlier.

    Args:
        hashed: whether to hash the plain bytes as a whole. This takes a third of the time, which
            isn't worth it if the caller hashes each file; the stored bytes are always hashed.

    Raises:
        ArtifactError: the payload is missing or damaged, or the key is missing or wrong.
        TierError: the tier failed.
    """
    what = f"{key} on tier {tier.name}"
    try:
        entered = tier.read(key)
        source = entered.__enter__()
    except FileMissingError:
        raise missing(what) from None
    try:
        reader = PayloadReader(source, payload, keys, what, hashed=hashed)
        try:
            yield reader
        finally:
            reader.abandon()
    finally:
        entered.__exit__(None, None, None)


def missing(what: str) -> ArtifactError:
    """Return the error for a payload that is missing although the manifest names it."""
    return ArtifactError(
        f"{what} is missing",
        why="the manifest names it, and the tier doesn't hold it",
        remedy="run `mmstack verify` for this backup: it looks for a good copy on the other tiers",
    )
