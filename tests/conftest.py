"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import profiles

profiles.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that share an expensive product run in one worker, and begin with those.

    For ``--dist loadgroup``; all others go to whichever worker is free.
    """
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(Path(item.path).stem))
    # The longest last would leave the other workers idle.
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
