"""A project with three tiers, and definitions of it on backups in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from mmstack_ops.adapters.notifications.log import Notification
from mmstack_ops.adapters.project import Project, open_project
from mmstack_ops.domain.backups.events import BackupEvent
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.backups.fake import FakeBackups
from tests.orchestration.fake_retention import FakeLive
from tests.orchestration.fake_wipe import FakeWipes
from tests.orchestration.fakes import FakeControl, Run


@pytest.fixture
def project(project: Project) -> Project:
    """The small project of all tests of orchestration, with a schema that has backups."""
    shutil.copy(Path(__file__).parent / "schema.yaml", project.schema_path)
    return open_project()


REPOSITORY = Path(__file__).parents[3]


class World:
    """One environment: its definitions, what stands behind them, and what was told."""

    def __init__(self, project: Project, environment: str) -> None:
        self.project = project
        self.catalogue = project.catalogue(environment)
        self.backups = FakeBackups(self.catalogue)
        self.control = FakeControl(self.catalogue)
        self.live = FakeLive(self.catalogue)
        self.wipes = FakeWipes(self.catalogue)
        self.events: list[BackupEvent | PartFailed] = []
        self.notifications: list[Notification] = []
        self.definitions = build_definitions(
            environment,
            overrides={
                "project": project,
                "control": self.control,
                "backups": self.backups,
                "live_retention": self.live,
                "wipe": self.wipes,
                "listener": self.events.append,
                "notifier": self,
            },
        )

    def notify(self, notification: Notification) -> None:
        self.notifications.append(notification)

    def key(self, tier: str, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.catalogue.environment, "backup", tier, name])


@pytest.fixture
def staging(project: Project) -> World:
    return World(project, "staging")


@pytest.fixture
def run(staging: World, instance: dg.DagsterInstance) -> Run:
    """Run a job of staging in this process and return its result, failed or not."""

    def execute(job: str, **options: object) -> dg.ExecuteInProcessResult:
        return staging.definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            **options,  # type: ignore[arg-type]
        )

    return execute


def evaluations(
    result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance
) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Return (place, check) → evaluation, also of steps that failed; the last one counts."""
    found = [
        record.dagster_event.asset_check_evaluation_data
        for record in instance.all_logs(result.run_id)
        if record.dagster_event is not None
        and record.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return {("/".join(one.asset_key.path[2:]), one.check_name): one for one in found}


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """Return what the failed steps say."""
    return "\n".join(
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None
    )
