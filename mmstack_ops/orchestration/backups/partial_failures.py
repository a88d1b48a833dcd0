"""Parts of a step that go on when one of them fails."""

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
    """Counts the parts of one step and remembers which of them failed.

    Args:
        work: what is done to each part.
        what: the parts in plural, for the failure's text.
    """

    context: Context
    work: Kind
    what: str
    total: int = 0
    failed: list[PartFailed] = field(default_factory=list)

    @contextmanager
    def part(self, service: str, type_name: str, tier: str) -> Iterator[None]:
        """Do one part in the block: its failure is noted and told, and goes no further.

        An interruption passes, as does everything else that is no Exception.
        """
        self.total += 1
        subject = f"{service}/{type_name}" if service else tier
        try:
            with only_safe_errors(f"{self.work} of {subject}"):
                yield
        except dg.Failure as failure:
            self.fail(service, type_name, tier, failure.description or "it failed")

    def refuse(self, service: str, type_name: str, tier: str, error: str) -> None:
        """Count a part that can't even be begun, as failed."""
        self.total += 1
        self.fail(service, type_name, tier, error)

    def fail(self, service: str, type_name: str, tier: str, error: str) -> None:
        """Note that a part failed which was counted already."""
        part = PartFailed(service, type_name, tier, self.work, error)
        self.failed.append(part)
        tell(self.context, part)
        self.context.log.error(f"{part.subject}: {error}")

    def finish(self) -> None:
        """Fail the step when a part failed, with a table of all that did.

        Raises:
            dagster.Failure: naming every failed part.
        """
        if self.failed:
            raise failure_of(self.failed, total=self.total, what=self.what)
