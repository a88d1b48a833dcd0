"""Wipes as runs: what they need, what they refuse, what they record, what rests meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.wipe.wipe_plan import WipePlan
from mmstack_ops.orchestration.build import build_definitions
from mmstack_ops.orchestration.wipe.config import wipe_run_config
from tests.orchestration.backups.conftest import failure_text
from tests.orchestration.fake_wipe import ITEMS, FakeWipes
from tests.orchestration.fakes import FakeControl


@pytest.fixture
def wipes(project: Project) -> FakeWipes:
    return FakeWipes(project.catalogue("production"))


@pytest.fixture
def events() -> list[object]:
    return []


@pytest.fixture
def definitions(project: Project, wipes: FakeWipes, events: list[object]) -> dg.Definitions:
    overrides = {
        "project": project,
        "control": FakeControl(wipes.catalogue),
        "wipe": wipes,
        "listener": events.append,
    }
    return build_definitions("production", overrides=overrides)


class Launch:
    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions = definitions
        self.instance = instance

    def __call__(self, config: Any = None, **how: Any) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def(how.pop("job", "wipe_core"))
        return job.execute_in_process(
            instance=self.instance, raise_on_error=False, run_config=config, **how
        )


@pytest.fixture
def launch(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Launch:
    return Launch(definitions, instance)


def confirmed(planned: WipePlan, **changes: Any) -> dict[str, Any]:
    config = wipe_run_config(planned, planned.confirmation, start=True)
    config["ops"]["remove_core"]["config"].update(changes)
    return config


def test_there_is_a_job_for_each_stack_each_kind_and_the_environment(
    definitions: dg.Definitions,
) -> None:
    found = {job.name for job in definitions.resolve_all_job_defs() if job.name.startswith("wipe_")}
    kinds = {"wipe_db", "wipe_cache", "wipe_models", "wipe_logs", "wipe_test_results"}
    assert found == {"wipe_core", "wipe_inference", "wipe_environment"} | kinds


def test_the_plan_that_was_confirmed_is_carried_out_and_recorded(
    launch: Launch, wipes: FakeWipes, events: list[object], instance: dg.DagsterInstance
) -> None:
    assert launch(confirmed(wipes.plan("core"))).success
    assert wipes.items == ()
    (record,) = instance.fetch_observations(dg.AssetKey(["production", "wipe"]), limit=1).records
    metadata = record.asset_observation.metadata  # type: ignore[union-attr]
    assert metadata["freed_bytes"].value == 4096
    assert metadata["removed"].value == 3
    for one in ITEMS:
        assert one.name in str(metadata["gone"].value)
    redis = dg.AssetKey(["production", "core", "redis"])
    (record,) = instance.fetch_observations(redis, limit=1).records
    assert "volume redis_data" in str(record.asset_observation.metadata["gone"].value)  # type: ignore[union-attr]
    assert [type(one).__name__ for one in events][-1] == "WipeResult"


def test_the_age_that_counts_is_that_of_the_plan_somebody_looked_at(
    launch: Launch, wipes: FakeWipes
) -> None:
    """It goes on counting while the wipe waits for its turn."""
    looked = datetime.now(UTC) - timedelta(minutes=14)
    assert launch(confirmed(wipes.plan("core"), planned_at=looked.isoformat())).success
    assert [one.made_at for one in wipes.wiped] == [looked]


def test_without_a_plan_it_shows_one_and_deletes_nothing(launch: Launch, wipes: FakeWipes) -> None:
    result = launch()
    assert not result.success
    assert wipes.wiped == []
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    shown = failure.step_failure_data.user_failure_data
    assert shown is not None
    assert "Nothing was deleted" in str(shown.description)
    assert "redis_data" in str(shown.metadata["goes"].value)
    assert shown.metadata["digest"].value == wipes.plan("core").stamp.digest
    assert shown.metadata["confirmation"].value == "production/core"
    # Whoever copies it still has to type the confirmation.
    assert "production/core" not in str(shown.metadata["run_config"].value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"plan": "0123456789abcdef"}, "isn't the one that was looked at"),
        ({"confirm": ""}, "isn't confirmed"),
        ({"confirm": "yes"}, "isn't confirmed"),
        ({"confirm": "development/core"}, "isn't confirmed"),
        # Minutes from now, since it is collected long before it is run.
        ({"planned_at": -16}, "too old"),
        ({"planned_at": 5}, "too old"),
        ({"plan": None}, "Nothing was deleted"),
        ({"planned_at": None}, "Nothing was deleted"),
    ],
)
def test_anything_else_is_refused_before_anything_goes(
    launch: Launch, wipes: FakeWipes, changes: dict[str, Any], why: str
) -> None:
    if isinstance(minutes := changes.get("planned_at"), int):
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        changes = {"planned_at": moment.isoformat()}
    result = launch(confirmed(wipes.plan("core"), **changes))
    assert why in failure_text(result)
    assert wipes.wiped == []


def test_the_guard_refuses_and_doing_without_is_recorded(
    launch: Launch, wipes: FakeWipes, instance: dg.DagsterInstance
) -> None:
    wipes.refusals = ("redis: no backup is proven to restore",)
    refused = launch(confirmed(wipes.plan("core")))
    assert "no backup is proven" in failure_text(refused)
    assert wipes.wiped == []
    assert launch(confirmed(wipes.plan("core"), without_proven_backup=True)).success
    (record,) = instance.fetch_observations(dg.AssetKey(["production", "wipe"]), limit=1).records
    metadata = record.asset_observation.metadata  # type: ignore[union-attr]
    assert metadata["without_proven_backup"].value is True


def test_what_stays_fails_the_run_and_is_named(launch: Launch, wipes: FakeWipes) -> None:
    wipes.stuck = {"redis_data"}
    result = launch(confirmed(wipes.plan("core")))
    assert "redis_data: in use" in failure_text(result)
    assert len(wipes.items) == 1


def test_a_re_execution_is_refused(
    launch: Launch, wipes: FakeWipes, instance: dg.DagsterInstance
) -> None:
    config = confirmed(wipes.plan("core"))
    job = launch.definitions.resolve_job_def("wipe_core")
    first = instance.create_run_for_job(job, run_config=config)
    again = instance.create_run_for_job(
        job, run_config=config, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run_iterator

    events = list(execute_run_iterator(InMemoryJob(job), again, instance))
    texts = [
        str(event.step_failure_data.user_failure_data.description)
        for event in events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    assert any("can't be re-executed" in text for text in texts)
    assert wipes.wiped == []


def test_a_wipe_holds_the_pool_of_starts(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("wipe_db")
    pools = {getattr(node, "pool", None) for node in job.all_node_defs}
    assert "production_stacks" in pools


def test_every_schedule_rests_while_a_wipe_goes_on(
    definitions: dg.Definitions, wipes: FakeWipes, instance: dg.DagsterInstance
) -> None:
    schedules = list(definitions.get_repository_def().schedule_defs)
    assert len(schedules) > 8
    for holder in ("", "wipe_core (run 12345678)"):
        wipes.holder = holder
        for schedule in schedules:
            context = dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime.now(UTC),
                resources={"wipe": wipes},
            )
            data = schedule.evaluate_tick(context)
            assert bool(data.run_requests) == (not holder), schedule.name
            if holder:
                assert "is being wiped: wipe_core" in str(data.skip_message)
