"""How much work something is, counted: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Counted:
    """What a block did, in its own thread."""

    count: int = 0


@contextmanager
def lines_run() -> Iterator[Counted]:
    """Count the lines of Python that the block runs, those of loops each time. Slow."""
    counted = Counted()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        counted.count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield counted
    finally:
        sys.settrace(before)


@contextmanager
def calls_made() -> Iterator[Counted]:
    """Count the calls that the block makes, those of functions written in C included."""
    counted = Counted()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        counted.count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield counted
    finally:
        sys.setprofile(before)
