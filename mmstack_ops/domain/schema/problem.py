"""The problem that a rule of the schema reports."""

from __future__ import annotations

from dataclasses import dataclass

from mmstack_ops.domain.schema.document import Path


@dataclass(frozen=True)
class Problem:
    """One broken rule and its place in the schema."""

    path: Path
    message: str
