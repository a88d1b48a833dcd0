"""A service with two volumes that are folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.domain.schema.service import Mount
from tests.adapters.stores.folders import FolderBench, Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    data, logs = tmp_path / "data", tmp_path / "logs"
    data.mkdir()
    logs.mkdir()
    made = tool_instance("image", "testing", "worker")
    mounts = [Mount(target="/data", volume="data"), Mount(target="/logs", volume="logs")]
    return Here(
        instance=replace(
            made,
            definition=made.definition.model_copy(update={"mounts": mounts}),
            volumes={"/data": "v-data", "/logs": "v-logs"},
        ),
        bench=FolderBench(folders={"v-data": data, "v-logs": logs}, state=tmp_path),
        data=data,
        logs=logs,
        tier=tmp_path / "tier",
    )
