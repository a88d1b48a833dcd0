"""Every test that asks for a ``place`` runs on each kind of tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmstack_ops.domain.backups.tier import Tier
from tests.adapters.storage.places import MAKERS, Place, stop_servers


@pytest.fixture(params=sorted(MAKERS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with MAKERS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def tier(place: Place) -> Tier:
    return place.open(None)


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    stop_servers()
