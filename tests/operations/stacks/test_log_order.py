"""Log lines that the engine stored slightly out of order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.stacks.observed import ObservedContainer
from mmstack_ops.operations.stacks.logs import read_logs


class _Reader:
    def follow_logs(self, container_id: str, **_: Any) -> Iterator[tuple[str, bytes]]:
        yield "stdout", b"2026-01-01T00:00:00.000000002Z second\n"
        yield "stderr", b"2026-01-01T00:00:00.000000001Z first\n"
        yield "stdout", b"2026-01-01T00:00:00.000000003Z third\n"


class _Container:
    id, service, number = "a", "redis", 1


def test_lines_of_stdout_and_stderr_come_by_time() -> None:
    container = cast(ObservedContainer, _Container())
    reader = cast(EngineReader, _Reader())
    lines = list(read_logs(reader, [container], follow=False, since=None, tail=None))
    assert [line.text for line in lines] == ["first", "second", "third"]
