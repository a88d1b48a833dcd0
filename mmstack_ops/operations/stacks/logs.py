"""Merge the log lines of several containers into one stream."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Iterable, Iterator

from mmstack_ops.adapters.engine.reader import EngineReader, LogStream
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.stacks.events import LogLine
from mmstack_ops.domain.stacks.observed import ObservedContainer

# In lines; one or two were observed.
_OUT_OF_ORDER = 32


def read_logs(
    engine: EngineReader,
    containers: Iterable[ObservedContainer],
    *,
    follow: bool,
    since: float | None,
    tail: int | None,
) -> Iterator[LogLine]:
    """Yield lines of all containers: by time if reading, as they arrive if following."""
    streams = [
        _lines(c, engine.follow_logs(c.id, follow=follow, since=since, tail=tail))
        for c in containers
    ]
    if follow:
        return _as_they_come(streams)
    return heapq.merge(*map(_by_time, streams), key=lambda line: line.timestamp)


def _by_time(lines: Iterator[LogLine]) -> Iterator[LogLine]:
    """Yield the lines of one container in order of time.

    The engine reads its stdout and stderr in parallel, and stores lines with nearly the same
    timestamp in either order.
    """
    held: list[tuple[str, int, LogLine]] = []
    for number, line in enumerate(lines):
        heapq.heappush(held, (line.timestamp, number, line))
        if len(held) > _OUT_OF_ORDER:
            yield heapq.heappop(held)[2]
    while held:
        yield heapq.heappop(held)[2]


def _lines(container: ObservedContainer, stream: LogStream) -> Iterator[LogLine]:
    # The engine stores lines longer than 16 KiB in pieces, each with a timestamp of its own;
    # only the last one ends in a newline.
    begun: dict[str, tuple[str, list[bytes]]] = {}
    for name, piece in stream:
        stamp, _, text = piece.partition(b" ")
        timestamp, texts = begun.setdefault(name, (stamp.decode("ascii", "replace"), []))
        texts.append(text)
        if piece.endswith(b"\n"):
            del begun[name]
            line = b"".join(texts).decode("utf-8", "replace").rstrip("\r\n")
            yield LogLine(container.service, container.number, name, timestamp, line)


def _as_they_come(streams: list[Iterator[LogLine]]) -> Iterator[LogLine]:
    items: queue.Queue[LogLine | MmstackError | None] = queue.Queue(maxsize=10_000)

    def read(stream: Iterator[LogLine]) -> None:
        try:
            for line in stream:
                items.put(line)
        except MmstackError as error:
            items.put(error)
        finally:
            items.put(None)

    for stream in streams:
        # Daemon threads: a follower of a silent container must not keep the process alive.
        threading.Thread(target=read, args=(stream,), daemon=True).start()
    ended = 0
    while ended < len(streams):
        item = items.get()
        if item is None:
            ended += 1
        elif isinstance(item, MmstackError):
            raise item
        else:
            yield item
