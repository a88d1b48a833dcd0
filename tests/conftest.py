"""What holds for all tests."""

from __future__ import annotations

import pytest

from tests import profiles

profiles.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: last, they would leave the other workers idle."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
