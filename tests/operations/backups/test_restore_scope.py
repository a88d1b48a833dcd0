"""What a plan of a restore is told of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmstack_ops.domain.errors import UnknownNameError
from mmstack_ops.domain.stacks.observed import ObservedContainer, ObservedState
from mmstack_ops.operations.backups.restore_scope import restore_scope
from tests.adapters.config_project import make_project


def container(service: str, state: str = "running", **changes: object) -> ObservedContainer:
    return ObservedContainer(
        **{  # type: ignore[arg-type]
            "id": service,
            "name": f"{service}-1",
            "environment": "development",
            "stack": "core",
            "service": service,
            "number": 1,
            "state": state,
            "health": "healthy",
            "config_hash": "",
            "spec": {},
            "image": "",
            "image_id": "",
            **changes,
        }
    )


OBSERVED = ObservedState(
    daemon_id="daemon",
    containers=(
        container("postgres"),
        container("redis", "exited"),
        container("", oneoff=True, name="scratch"),
        container("postgres", environment="staging", name="other"),
    ),
    networks=(),
    volumes=(),
    images={},
)


def test_a_scope_names_what_is_replaced_and_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = make_project(tmp_path, monkeypatch).catalogue("development")
    scope = restore_scope(catalogue, OBSERVED, targets=["core"], tiers=("local", "remote"))
    assert set(scope.services) == {"postgres", "redis", "qdrant", "minio"}
    assert scope.replaces["postgres"] == (
        "postgres-1",
        "multimodal-development-core_postgres_data",
    )
    assert scope.running == {"postgres"}
    assert scope.named is False
    assert scope.declared["redis"] == ("rdb", "aof", "config")
    assert "postgres" in scope.dependencies["litellm"]
    assert restore_scope(catalogue, OBSERVED, targets=["redis"], tiers=()).named is True
    with pytest.raises(UnknownNameError):
        restore_scope(catalogue, OBSERVED, targets=["nothing"], tiers=())
