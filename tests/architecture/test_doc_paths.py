"""Paths that the documents name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*(?:\.\w+)?)`")
# Files as a reader of the layer sees them: from the repository, or from its package.
ROOTS = (REPOSITORY, REPOSITORY / "mmstack_ops", REPOSITORY / "mmstack_ops" / "adapters")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_of_a_document_exists(name: str) -> None:
    paths = {path for path in PATH.findall((REPOSITORY / name).read_text()) if "…" not in path}
    # What a start makes is there only after one.
    stored = {path for path in paths if not path.startswith((".mmstack/", "deploy/"))}
    assert [path for path in sorted(stored) if not any((r / path).exists() for r in ROOTS)] == []
    if name.startswith("docs"):
        assert len(stored) > 20
