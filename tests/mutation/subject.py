"""One kind of backup under test: a source, a restored copy, and faults to plant into the copy.

A fault planted into the restored copy is what a backup looks like that lost, changed or added just
that. The comparison of a drill has to find it. Before each fault the copy is restored again and has
to be equal, so that nothing is found for another reason.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.stores.backup_type import BackupType, Instance, Workbench
from mmstack_ops.artifacts.artifact_reader import Artifact
from mmstack_ops.domain.backups.events import DrillCheck
from mmstack_ops.domain.backups.facts import Comparison, compare
from mmstack_ops.domain.backups.trend import LOOKED_BACK
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.schema.policies import Trend
from mmstack_ops.operations.backups.drill import bench_for
from mmstack_ops.operations.backups.trend_check import trend_check
from tests.adapters.stores.stores import back_up
from tests.operations.backups.sample_backups import NOW

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a restored copy."""

    name: str
    plant: Callable[[Any], None]
    """Takes the subject."""


@dataclass(frozen=True)
class Verdict:
    """What came of one fault.

    Args:
        reason: the first difference, or why nothing could be compared; empty when all seemed well.
        counted: a look at row counts and sizes alone would have found it, too.
    """

    subject: str
    fault: str
    reason: str
    counted: bool

    @property
    def found(self) -> bool:
        return bool(self.reason)


@dataclass
class Subject(ABC):
    """A type, its source and a copy. Subclasses start servers and know the faults."""

    folder: Path
    """Where backups go."""
    kind: BackupType
    source: Instance
    copy: Instance
    bench: Workbench
    artifact: Artifact = field(init=False)
    earlier: list[Artifact] = field(default_factory=list)
    """The backups before, the newest first."""
    taken: int = 0

    name = ""

    @property
    @abstractmethod
    def faults(self) -> Sequence[Fault]:
        """Return the faults that can be planted into the copy."""

    @abstractmethod
    def change(self, step: int) -> None:
        """Change the source as its users do: some things come, change and go."""

    @abstractmethod
    def counts(self) -> Counts:
        """Count rows and bytes of the copy, as simple checks of backups do."""

    def back_up(self) -> Artifact:
        """Take the next backup of the source."""
        moment = NOW + timedelta(hours=self.taken)
        if self.taken:
            self.earlier.insert(0, self.artifact)
            del self.earlier[LOOKED_BACK:]
        self.taken += 1
        self.artifact = back_up(self.kind, self.source, self.folder, moment=moment, at=self.bench)
        return self.artifact

    def restore(self) -> None:
        """Make the copy what the newest backup holds."""
        bench = bench_for(self.kind, self.bench)
        self.copy = self.kind.restore(bench, self.copy, self.artifact)

    def compare(self) -> Comparison:
        """Compare the copy with what the newest backup recorded, as a drill does."""
        recorded = self.artifact.facts()
        bench = bench_for(self.kind, self.bench)
        return compare(recorded, self.kind.inspect(bench, self.copy, recorded))

    def trend(self) -> DrillCheck:
        """Compare the newest backup with those before, as a drill does."""
        return trend_check(self.artifact, [partial(_same, one) for one in self.earlier], Trend())

    def alarm(self) -> str:
        """Back the source up and drill it; return why it is called bad, empty when it isn't."""
        self.back_up()
        self.restore()
        found = self.compare()
        if not found.equal:
            return found.differences[0]
        check = self.trend()
        return "" if check.passed else check.words

    def judge(self, fault: Fault) -> Verdict:
        """Plant one fault into a good copy; return whether the comparison finds it."""
        self.restore()
        before = self.compare()
        assert before.equal, (self.name, "isn't equal before", fault.name, before.differences)
        counted = self.counts()
        try:
            fault.plant(self)
        except OSError as error:
            # The copy lacked it before anybody took it away, and was called equal.
            if error.errno not in (errno.ENODATA, errno.ENOENT):
                raise
            return Verdict(self.name, fault.name, "", counted=False)
        try:
            found = self.compare()
            reason = "" if found.equal else found.differences[0]
        except MmstackError as error:
            # A drill says then that the backup is unproven, and why.
            reason = error.what
        return Verdict(self.name, fault.name, reason, self.counts_after() != counted)

    def counts_after(self) -> Counts | str:
        """Return the counts after a fault; a text when the copy can't even be counted."""
        try:
            return self.counts()
        except Exception as error:
            return type(error).__name__


def _same(artifact: Artifact) -> Artifact:
    return artifact
