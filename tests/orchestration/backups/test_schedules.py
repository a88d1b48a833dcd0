"""What runs by itself, where, and when: the whole matrix."""

from __future__ import annotations

import subprocess
import sys
import warnings

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project, open_project
from mmstack_ops.orchestration.backups.backup_names import data_pools
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.backups.conftest import REPOSITORY, World
from tests.orchestration.fakes import ENVIRONMENTS, Run
from tests.work import calls_made

TIMES = {
    "backup_models": "0 4 * * 0",
    "restore_drill": "0 5 * * 0",
    "backup_verify": "0 6 * * *",
    "backup_sweep": "30 6 * * 0",
    "backup_check": "20 * * * *",
    "retention_cleanup": "0 1 * * *",
    "network_conflicts": "40 * * * *",
    "network_health": "50 6 * * *",
    "network_cleanup": "20 7 * * 0",
}


def test_the_matrix_of_schedules(project: Project) -> None:
    found = {}
    for environment in ENVIRONMENTS:
        definitions = build_definitions(environment, overrides={"project": project})
        schedules = definitions.get_repository_def().schedule_defs
        own = [s for s in schedules if s.name != "health_schedule"]
        assert len({s.default_status for s in own}) == 1
        assert len({s.execution_timezone for s in own}) == 1
        crons = {str(s.job_name): s.cron_schedule for s in own}
        found[environment] = (crons, own[0].execution_timezone, own[0].default_status.value)
    assert found == {
        "development": ({"backup_full": "0 2 * * *", **TIMES}, "UTC", "STOPPED"),
        "staging": ({"backup_full": "0 3 * * *", **TIMES}, "Europe/Berlin", "RUNNING"),
        "production": ({"backup_full": "0 1 * * *", **TIMES}, "UTC", "RUNNING"),
        "testing": ({"backup_full": "0 4 * * *", **TIMES}, "UTC", "STOPPED"),
    }


def test_the_matrix_of_sensors(project: Project) -> None:
    found = {}
    for environment in ENVIRONMENTS:
        definitions = build_definitions(environment, overrides={"project": project})
        sensors = definitions.get_repository_def().sensor_defs
        own = [s for s in sensors if s.name not in ("container_events", "notify_run_failure")]
        found[environment] = ({s.name for s in own}, {s.default_status.value for s in own})
    common = {"new_models", "schema_change", "bucket_growth", "missed_backups", "backup_tiers"}
    common |= {"quota_pressure"}
    assert found == {
        "development": (common | {"copy_to_remote"}, {"STOPPED"}),
        "staging": (common | {"copy_to_remote", "copy_to_cloud"}, {"RUNNING"}),
        "production": (common | {"copy_to_remote", "copy_to_cloud"}, {"RUNNING"}),
        "testing": (common, {"STOPPED"}),
    }


def test_every_schedule_asks_for_one_run_of_a_job_that_is_there(staging: World) -> None:
    repository = staging.definitions.get_repository_def()
    for schedule in repository.schedule_defs:
        context = dg.build_schedule_context(
            repository_def=repository, resources={"wipe": staging.wipes}
        )
        data = schedule.evaluate_tick(context)
        assert data.run_requests is not None
        assert len(data.run_requests) == 1
        assert staging.definitions.resolve_job_def(schedule.job_name).name == schedule.job_name


def test_the_shipped_schema_has_the_times_of_its_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MMSTACK_PROJECT", str(REPOSITORY))
    shipped = open_project(REPOSITORY)
    found = {}
    for environment in ENVIRONMENTS:
        definitions = build_definitions(environment, overrides={"project": shipped})
        schedule = definitions.resolve_schedule_def("backup_full_schedule")
        copies = [
            s.name.removeprefix("copy_to_")
            for s in definitions.get_repository_def().sensor_defs
            if s.name.startswith("copy_to_")
        ]
        found[environment] = (
            schedule.cron_schedule,
            definitions.resolve_schedule_def("retention_cleanup_schedule").cron_schedule,
            schedule.default_status.value,
            sorted(copies),
            definitions.resolve_schedule_def("backup_models_schedule").cron_schedule,
        )
    assert found == {
        "development": ("0 2 * * *", "0 1 * * *", "STOPPED", ["remote"], "0 4 * * 0"),
        "staging": ("0 3 * * *", "0 2 * * *", "RUNNING", ["cloud", "remote"], "0 4 * * 0"),
        "production": (
            "0 1 * * *",
            "0 3 * * 0",
            "RUNNING",
            ["cloud", "remote", "tape"],
            "0 4 * * 0",
        ),
        "testing": ("0 4 * * *", "0 0 * * *", "STOPPED", [], "0 4 * * 0"),
    }


@pytest.mark.parametrize(
    "job",
    [
        *("backup_full", "backup_models", "backup_service", "backup_copy", "backup_check"),
        *("backup_verify", "restore_drill", "backup_sweep", "retention_cleanup", "retention_test"),
    ],
)
def test_runs_use_no_unstable_apis(staging: World, run: Run, job: str) -> None:
    for series in staging.backups.series:
        staging.backups.take(series)
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning, dg.SupersessionWarning):
            warnings.simplefilter("error", category)
        warnings.simplefilter("error", DeprecationWarning)
        assert run(job).success


def test_loading_imports_nothing_that_backups_work_with(project: Project) -> None:
    program = (
        "import sys\n"
        "import mmstack_ops.orchestration.definitions as d\n"
        "d.production.get_repository_def().get_all_jobs()\n"
        "print(*[m for m in ('docker', 'boto3', 'pyrage', 'zstandard', 'psycopg', 'redis',"
        " 'qdrant_client', 'mmstack_ops.operations.backups.backup_operations')"
        " if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == []


def test_the_work_of_loading_grows_with_the_assets_and_not_faster(project: Project) -> None:
    """How long production takes is what ``bench/definitions.py`` measures."""
    shipped = open_project(REPOSITORY)

    def calls_an_asset(environment: str) -> float:
        with calls_made() as run:
            definitions = build_definitions(environment, overrides={"project": shipped})
            repository = definitions.get_repository_def()
            repository.get_all_jobs()
        return run.count / len(repository.asset_graph.get_all_asset_keys())

    assert calls_an_asset("production") < 1.5 * calls_an_asset("testing")


def test_a_wipe_holds_the_pools_of_all_backups_and_starts(staging: World) -> None:
    def pools(job: str) -> set[str]:
        nodes = staging.definitions.resolve_job_def(job).all_node_defs
        return {pool for node in nodes if (pool := getattr(node, "pool", None))}

    backups = {"staging_stacks", *data_pools(staging.catalogue, staging.catalogue.services)}
    assert len(backups) > 3
    catalogue = staging.catalogue
    core = catalogue.schema.stacks["core"].services
    assert pools("wipe_core") >= {"staging_stacks", *data_pools(catalogue, core)}
    assert pools("wipe_core") < backups
    # A drill's scratch server is in the environment: it isn't taken away from it.
    scratch = pools("restore_drill") | pools("restore_into_scratch")
    assert pools("wipe_environment") == backups | scratch
