"""What a rule of the schema has to say when it is broken."""

from __future__ import annotations

from dataclasses import dataclass

from mmstack_ops.domain.schema.document import Path


@dataclass(frozen=True)
class Problem:
    """One broken rule and where it stands."""

    path: Path
    message: str
