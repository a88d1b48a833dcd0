"""Dagster still has the private names that the project uses."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MODULE = REPOSITORY / "mmstack_ops" / "orchestration" / "_dagster_compat.py"

USES = {
    "dagster._core.definitions.job_base.InMemoryJob": "executing a run in this process",
    "dagster._core.execution.api.execute_run_iterator": "executing a run in this process",
    "dagster._core.instance.ref.InstanceRef": "opening an instance with one setting replaced",
    "dagster._core.launcher.base.CheckRunHealthResult": "what a launcher answers run monitoring",
    "dagster._core.launcher.base.LaunchRunContext": "what a launcher is given",
    "dagster._core.launcher.base.RunLauncher": "the base class of launchers",
    "dagster._core.launcher.base.WorkerStatus": "what a launcher answers run monitoring",
    "dagster._core.remote_origin.ManagedGrpcPythonEnvCodeLocationOrigin": "a run's code location",
    "dagster._core.remote_origin.RemoteJobOrigin": "a run's code location",
    "dagster._core.remote_origin.RemoteRepositoryOrigin": "a run's code location",
    "dagster._core.storage.noop_compute_log_manager.NoOpComputeLogManager": "no compute logs",
    "dagster._core.storage.tags.REPOSITORY_LABEL_TAG": "listing runs by code location",
    "dagster._core.types.loadable_target_origin.LoadableTargetOrigin": "a run's code location",
}


@pytest.mark.parametrize("name", USES)
def test_dagster_has_it(name: str) -> None:
    module, _, symbol = name.rpartition(".")
    try:
        found = hasattr(importlib.import_module(module), symbol)
    except ImportError:
        found = False
    assert found, f"Dagster has no {name} any more; it is used for: {USES[name]} ({MODULE.name})"


def test_each_one_that_is_used_is_tested() -> None:
    # Parsed, not imported: where one is gone the module can't be.
    tree = ast.parse(MODULE.read_text())
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    (settings,) = (
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NO_COMPUTE_LOGS"
    )
    assert imported | {f"{settings['module']}.{settings['class']}"} == set(USES)
