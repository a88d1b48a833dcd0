"""Log lines of several containers in one stream."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Iterable, Iterator

from mmstack_ops.adapters.engine.reader import EngineReader, LogStream
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.stacks.events import LogLine
from mmstack_ops.domain.stacks.observed import ObservedContainer


def read_logs(
    engine: EngineReader,
    containers: Iterable[ObservedContainer],
    *,
    follow: bool,
    since: float | None,
    tail: int | None,
) -> Iterator[LogLine]:
    """Yield lines of all containers: by time when reading, as they come when following."""
    streams = [
        _lines(c, engine.follow_logs(c.id, follow=follow, since=since, tail=tail))
        for c in containers
    ]
    if follow:
        return _as_they_come(streams)
    return heapq.merge(*streams, key=lambda line: line.timestamp)


def _lines(container: ObservedContainer, stream: LogStream) -> Iterator[LogLine]:
    rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    for name, chunk in stream:
        *whole, rest[name] = (rest[name] + chunk).split(b"\n")
        for raw in whole:
            timestamp, _, text = raw.decode("utf-8", "replace").partition(" ")
            yield LogLine(container.service, container.number, name, timestamp, text.rstrip("\r"))


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
        # Daemon threads: a follower blocked on a silent container must not keep us alive.
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
