"""The score: how many planted faults a drill's comparison finds, and what a simple check would.

    python -m tests.mutation.score [SUBJECT …] [--write docs/proof.md]

Without a subject all of them are judged. Exits with 1 when fewer than ``WANTED`` of the faults are
found, or a healthy backup is called bad.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

from mmstack_ops.adapters.engine.client import DEFAULT_URL
from mmstack_ops.domain.errors import MmstackError
from tests import allocation
from tests.integration.world import World
from tests.mutation import config, folders, postgres, qdrant, redis, s3, source, stored
from tests.mutation.subject import Fault, Subject, Verdict

WANTED = 0.99
HEALTHY = 200
"""Backups of changing data that must raise no alarm, over all subjects."""


class Judged(Protocol):
    """What faults are planted into."""

    name: str

    @property
    def faults(self) -> Sequence[Fault]: ...

    def judge(self, fault: Fault) -> Verdict: ...

    def restore(self) -> None: ...

    def change(self, step: int) -> None: ...

    def alarm(self) -> str: ...


Maker = Callable[[Path], AbstractContextManager[Judged]]


def _on_engine(start: Callable[[World, Path], Subject]) -> Maker:
    """Return a maker that gives a subject an owner and addresses of its own, and removes all."""

    @contextmanager
    def make(folder: Path) -> Iterator[Subject]:
        world = World(
            owner=allocation.new_owner(),
            subnet=allocation.world_subnet(),
            base_url=os.environ.get("DOCKER_HOST", DEFAULT_URL),
        )
        try:
            yield start(world, folder)
        finally:
            world.remove_everything()
            world.close()

    return make


ON_ENGINE: dict[str, Maker] = {
    "postgres full": _on_engine(partial(postgres.subject, "full")),
    "postgres schema": _on_engine(partial(postgres.subject, "schema")),
    "postgres data": _on_engine(partial(postgres.subject, "data")),
    "redis rdb": _on_engine(partial(redis.subject, "rdb")),
    "redis aof": _on_engine(partial(redis.subject, "aof")),
    "qdrant collection": _on_engine(qdrant.subject),
}
ON_HOST: dict[str, Maker] = {
    "s3 bucket": s3.subject,
    "volumes full": lambda folder: nullcontext(folders.subject("volumes", folder)),
    "sqlite full": lambda folder: nullcontext(folders.subject("sqlite", folder)),
    "huggingface models": lambda folder: nullcontext(folders.subject("models", folder)),
    "config": lambda folder: nullcontext(config.subject(folder)),
    "stored bytes": lambda folder: nullcontext(stored.subject(folder)),
    "files of the source": lambda folder: nullcontext(source.subject(folder, "volumes")),
    "rows of the source": lambda folder: nullcontext(source.subject(folder, "sqlite")),
}
SUBJECTS = ON_ENGINE | ON_HOST


@dataclass(frozen=True)
class Alarm:
    """A healthy backup that was called bad."""

    subject: str
    step: int
    reason: str


def judge(subject: Judged, *, every: int = 1) -> Iterator[Verdict]:
    """Plant the faults of a subject one after the other.

    Args:
        every: only each so many-th fault.
    """
    for fault in subject.faults[::every]:
        yield subject.judge(fault)
    # The copy may be the source, too.
    subject.restore()


def alarms(subject: Judged, steps: int) -> Iterator[Alarm]:
    """Change the source and back it up ``steps`` times; yield the good ones that are called bad."""
    for step in range(steps):
        subject.change(step)
        if reason := subject.alarm():
            yield Alarm(subject.name, step, reason)


def report(verdicts: Sequence[Verdict], found: Sequence[Alarm], healthy: int) -> str:
    """Return the score as markdown."""
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `make mutation`.",
        "",
        "| backup | faults planted | found by the drill | found by counts and sizes alone |",
        "|---|---|---|---|",
    ]
    names = list(dict.fromkeys(one.subject for one in verdicts))
    for name in [*names, "all"]:
        own = [one for one in verdicts if name in (one.subject, "all")]
        hits, counted = sum(one.found for one in own), sum(one.counted for one in own)
        share = f"{hits / len(own):.1%}"
        lines.append(f"| {name} | {len(own)} | {hits} ({share}) | {counted} |")
    missed = [f"- {one.subject}: {one.fault}" for one in verdicts if not one.found]
    lines += ["", "Missed:", "", *(missed or ["- nothing"]), ""]
    lines.append(f"Healthy backups of changing data: {healthy}, called bad: {len(found)}.")
    lines += [f"- {one.subject}, backup {one.step}: {one.reason}" for one in found]
    return "\n".join(lines) + "\n"


def say(line: str) -> None:
    """Print a line at once: this takes a while."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def judge_all(name: str, steps: int) -> tuple[list[Verdict], list[Alarm]]:
    """Plant every fault of a subject, then take ``steps`` healthy backups; say what is found."""
    try:
        with tempfile.TemporaryDirectory() as folder, SUBJECTS[name](Path(folder)) as subject:
            verdicts: list[Verdict] = []
            for verdict in judge(subject):
                verdicts.append(verdict)
                found = "found" if verdict.found else "MISSED"
                say(f"{name} {len(verdicts)}/{len(subject.faults)}: {found}: {verdict.fault}")
            bad = list(alarms(subject, steps))
    except MmstackError as error:
        # With its arguments by name it can't cross over from another process.
        raise RuntimeError(f"{name}: {error}") from None
    hits = sum(one.found for one in verdicts)
    say(f"{name}: {hits} of {len(verdicts)} found, {len(bad)} of {steps} healthy ones called bad")
    return verdicts, bad


def main() -> int:
    """Judge all subjects; print the score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.score")
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], metavar="SUBJECT")
    parser.add_argument("--healthy", type=int, default=HEALTHY)
    parser.add_argument("--workers", type=int, help="subjects at once (default: a core each)")
    parser.add_argument("--write", type=Path, help="put the score between the marks of this file")
    given = parser.parse_args()
    names = given.subjects or list(SUBJECTS)
    steps = -(-given.healthy // len(names))
    # A process each: addresses and ports are a process's own (tests/allocation.py).
    with ProcessPoolExecutor(given.workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        judged = list(pool.map(judge_all, names, itertools.repeat(steps)))
    verdicts = [one for own, _ in judged for one in own]
    called_bad = [one for _, bad in judged for one in bad]
    text = report(verdicts, called_bad, steps * len(names))
    say(f"\n{text}")
    if given.write:
        _put_between_marks(given.write, text)
    share = sum(one.found for one in verdicts) / len(verdicts)
    return 0 if share >= WANTED and not called_bad else 1


def _put_between_marks(path: Path, text: str) -> None:
    begin, end = "<!-- score: begin -->", "<!-- score: end -->"
    before, _, rest = path.read_text().partition(begin)
    path.write_text(f"{before}{begin}\n{text}{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    sys.exit(main())
