"""Restore a PostgreSQL server in place, and be killed at one step: run as a program by a test."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from mmstack_ops.adapters.stores.postgres.full import PostgresFull
from tests.integration.backups.lab import Bench
from tests.integration.world import World


class DyingBench(Bench):
    """Ends its process without a word when it is told of step ``dies_at``."""

    dies_at = ""

    def __post_init__(self) -> None:
        self.told = _Steps(self)  # type: ignore[assignment]
        super().__post_init__()


class _Steps(list[str]):
    def __init__(self, bench: DyingBench) -> None:
        self._bench = bench

    def append(self, message: str) -> None:
        if message == self._bench.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    owner, subnet, url, state, instance, artifact, step = pickle.loads(
        Path(sys.argv[1]).read_bytes()
    )
    at = DyingBench(World(owner, subnet, url), state)
    at.dies_at = step
    PostgresFull().restore(at.bench, instance, artifact)


main()
