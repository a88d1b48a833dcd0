"""Orphaned networks as a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.networks.orphans import NetworkDecision
from mmstack_ops.orchestration.build import build_definitions
from mmstack_ops.orchestration.networks.cleanup import cleanup_run_config
from tests.orchestration.backups.conftest import failure_text
from tests.orchestration.fakes import FakeControl

ORPHAN = NetworkDecision("1", "lab-old", ("10.1.0.0/24",), "testing", True, "nobody wants it")
WANTED = NetworkDecision("2", "lab-core", ("10.2.0.0/24",), "testing", False, "wanted")


@pytest.fixture
def control(project: Project) -> FakeControl:
    return FakeControl(project.catalogue("development"), networks=[ORPHAN, WANTED])


def run(
    project: Project, control: FakeControl, instance: dg.DagsterInstance, config: object = None
) -> dg.ExecuteInProcessResult:
    overrides = {"project": project, "control": control}
    job = build_definitions("development", overrides=overrides).resolve_job_def("network_cleanup")
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=config,
    )


def test_what_was_looked_at_goes_and_is_recorded(
    project: Project, control: FakeControl, instance: dg.DagsterInstance
) -> None:
    config = cleanup_run_config(control.plan_network_cleanup())
    assert run(project, control, instance, config).success
    assert control.networks == [WANTED]
    key = dg.AssetKey(["development", "network"])
    (record,) = instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["removed_networks"].value == 1


def test_another_plan_and_an_old_one_are_refused(
    project: Project, control: FakeControl, instance: dg.DagsterInstance
) -> None:
    plan = control.plan_network_cleanup()
    old = replace(plan, made_at=plan.made_at - timedelta(hours=1))
    for refused, why in (
        (old, "is too old"),
        (replace(plan, decisions=()), "isn't the one that was looked at"),
    ):
        result = run(project, control, instance, cleanup_run_config(refused))
        assert why in failure_text(result)
    assert control.networks == [ORPHAN, WANTED]


def test_a_network_that_stays_fails_the_run_and_is_named(
    project: Project, control: FakeControl, instance: dg.DagsterInstance
) -> None:
    control.stuck = {"lab-old"}
    result = run(project, control, instance)
    assert not result.success
    assert "lab-old: active endpoints" in failure_text(result)
