from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A file with a new age identity."""
    import pyrage

    path = tmp_path / "identity"
    path.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def recipient(identity: Path) -> str:
    """Its public key."""
    import pyrage

    return str(pyrage.x25519.Identity.from_str(identity.read_text().strip()).to_public())
