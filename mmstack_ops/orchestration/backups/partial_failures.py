"""Run the parts of a step so that a failed part does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import dagster as dg

from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.orchestration.backups.metadata import failure_of
from mmstack_ops.orchestration.backups.step_runner import Context, tell
from mmstack_ops.orchestration.safe_errors import only_safe_errors

Kind = Literal["backup", "copy", "verification", "drill", "restore", "sweep", "retention"]


@dataclass
class Parts:
    """The number of parts of one step, and the parts that failed.

    Args:
        work: the kind of work done on each part.
        what: name of the parts in the plural, for the failure message.
    """

    context: Context
    work: Kind
    what: str
    total: int = 0
    failed: list[PartFailed] = field(default_factory=list)

    @contextmanager
    def part(self, service: str, type_name: str, tier: str) -> Iterator[None]:
        """Run one part in the block: its failure is recorded and reported, but not raised.

        An interruption is raised, as is everything else that is not an Exception.
        """
        self.total += 1
        subject = f"{service}/{type_name}" if service else tier
        try:
            with only_safe_errors(f"{self.work} of {subject}"):
                yield
        except dg.Failure as failure:
            self.fail(service, type_name, tier, failure.description or "it failed")

    def refuse(self, service: str, type_name: str, tier: str, error: str) -> None:
        """Count a part that can't be started, as failed."""
        self.total += 1
        self.fail(service, type_name, tier, error)

    def fail(self, service: str, type_name: str, tier: str, error: str) -> None:
        """Record the failure of a part that is already counted."""
        part = PartFailed(service, type_name, tier, self.work, error)
        self.failed.append(part)
        tell(self.context, part)
        self.context.log.error(f"{part.subject}: {error}")

    def finish(self) -> None:
        """Fail the step if a part failed, with a table of all failed parts.

        Raises:
            dagster.Failure: names every failed part.
        """
        if self.failed:
            raise failure_of(self.failed, total=self.total, what=self.what)
