"""Who reaches whom, as Dagster shows it."""

from __future__ import annotations

import dagster as dg

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.networks.reach import Cell
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fakes import FakeControl

OPEN = Cell("litellm", "postgres", 5432, True, "ok")
SHUT = Cell("postgres", "litellm", 4000, False, "ok")
EXPOSED = Cell("litellm", "redis", 6379, False, "exposed", "10.0.0.2:6379 answers")


def outcomes(
    project: Project, instance: dg.DagsterInstance, cells: tuple[Cell, ...] | None
) -> dict[str, dg.AssetCheckEvaluation]:
    control = FakeControl(project.catalogue("development"), cells=cells)
    overrides = {"project": project, "control": control}
    job = build_definitions("development", overrides=overrides).resolve_job_def("network_health")
    result = job.execute_in_process(instance=instance)
    return {one.asset_key.path[-1]: one for one in result.get_asset_check_evaluations()}


def test_each_network_has_the_cells_of_its_own_services(
    project: Project, instance: dg.DagsterInstance
) -> None:
    found = outcomes(project, instance, (OPEN, SHUT, EXPOSED))
    core, inference = found["core"], found["inference"]
    assert not core.passed
    assert core.severity is dg.AssetCheckSeverity.ERROR
    assert "litellm → redis:6379 exposed" in str(core.description)
    assert core.metadata["wrong_cells"].value == 1
    assert inference.passed
    assert inference.metadata["cells"].value == 1


def test_what_cant_be_seen_is_not_checked(project: Project, instance: dg.DagsterInstance) -> None:
    found = outcomes(project, instance, None)
    assert {one.passed for one in found.values()} == {False}
    assert {one.severity for one in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert {one.description for one in found.values()} == {"not checked: not root"}
