"""A small project, and definitions of it on a fake control."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project, open_project
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fakes import FakeControl, Run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "project"
    (root / "schemas").mkdir(parents=True)
    (root / "dagster_home").mkdir()
    shutil.copy(Path(__file__).parent / "schema.yaml", root / "schemas" / "compose-schema.yaml")
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", root / "dagster_home")
    for name in ("MMSTACK_STATE", "MMSTACK_SCHEMA", "DAGSTER_HOME", "MMSTACK_IMAGE_OVERRIDES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MMSTACK_PROJECT", str(root))
    return open_project()


@pytest.fixture
def control(project: Project) -> FakeControl:
    return FakeControl(project.catalogue("development"))


@pytest.fixture
def definitions(project: Project, control: FakeControl) -> dg.Definitions:
    return build_definitions("development", overrides={"project": project, "control": control})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def run(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Run:
    """Run a job in this process and return its result, failed or not."""

    def execute(job: str, **options: object) -> dg.ExecuteInProcessResult:
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            **options,  # type: ignore[arg-type]
        )

    return execute
