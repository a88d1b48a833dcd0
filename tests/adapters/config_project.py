"""A project in a folder of its own, with the schema and templates that are shipped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import Project, open_project

ROOT = Path(__file__).resolve().parents[2]
OWN_IMAGE_VARIABLES = (
    "MULTIMODAL_WORKER_IMAGE",
    "RETRIEVAL_PROXY_IMAGE",
    "AI_AGENTS_IMAGE",
    "MEMORY_SYSTEM_IMAGE",
    "SEARCH_ENGINE_IMAGE",
    "USER_MANAGEMENT_IMAGE",
    "N8N_MONITORING_IMAGE",
)


def make_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Copy the shipped schema and templates to ``folder`` and open it, free of our settings."""
    for variable in (
        "MMSTACK_PROJECT",
        "MMSTACK_STATE",
        "MMSTACK_SCHEMA",
        "MMSTACK_IMAGE_OVERRIDES",
        "MMSTACK_AGE_IDENTITY",
        "MMSTACK_LOCK_DIR",
        "DOCKER_HOST",
    ):
        monkeypatch.delenv(variable, raising=False)
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    shutil.copytree(ROOT / "env-templates", folder / "env-templates")
    return open_project(folder)


def write_local(project: Project, environment: str, values: Mapping[str, str]) -> None:
    """Write the operator's own values, as they stand in the file."""
    path = project.environment_state(environment) / "local.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
