"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import profiles

profiles.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: last, they would leave the other workers idle."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


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
