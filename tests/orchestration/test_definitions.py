"""All definitions of all environments: complete, loadable, and on stable ground."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import InputError
from mmstack_ops.orchestration.build import build_definitions
from tests.orchestration.fake_wipe import FakeWipes
from tests.orchestration.fakes import ENVIRONMENTS, FakeControl, Run


@pytest.fixture
def unstable_apis_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (
            dg.BetaWarning,
            dg.PreviewWarning,
            dg.SupersessionWarning,
            DeprecationWarning,
        ):
            warnings.simplefilter("error", category)
        yield


@pytest.mark.usefixtures("unstable_apis_are_errors")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_definitions_load_without_unstable_apis(project: Project, environment: str) -> None:
    definitions = build_definitions(environment, overrides={"project": project})
    dg.Definitions.validate_loadable(definitions)
    definitions.resolve_all_job_defs()


@pytest.mark.usefixtures("unstable_apis_are_errors")
@pytest.mark.parametrize("job", ["start_core", "stop_core", "restart_core", "check_health"])
def test_runs_use_no_unstable_apis(run: Run, job: str) -> None:
    assert run(job).success


def test_every_service_is_an_asset_of_its_stack(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    litellm = graph.get(dg.AssetKey(["development", "inference", "litellm"]))
    assert litellm.group_name == "inference"
    assert litellm.parent_keys == {
        dg.AssetKey(["development", "core", "postgres"]),
        dg.AssetKey(["development", "inference", "vllm-small"]),
    }
    postgres = graph.get(dg.AssetKey(["development", "core", "postgres"]))
    assert postgres.owners == ["team:platform"]
    assert postgres.kinds == {"docker", "postgres"}
    stacks = ("core", "inference")
    services = [key for key in graph.get_all_asset_keys() if key.path[1] in stacks]
    assert len(services) == 5


def test_every_verb_is_a_job(definitions: dg.Definitions) -> None:
    names = {job.name for job in definitions.resolve_all_job_defs()}
    for verb in ("start", "stop", "restart", "rebuild"):
        assert {f"{verb}_core", f"{verb}_inference", f"{verb}_environment"} <= names
    assert "check_health" in names


def test_a_start_brings_what_the_stack_needs_and_no_profiles(definitions: dg.Definitions) -> None:
    keys = definitions.resolve_job_def("start_inference").asset_layer.executable_asset_keys
    assert {key.path[-1] for key in keys} == {"postgres", "vllm-small", "litellm"}
    keys = definitions.resolve_job_def("start_core").asset_layer.executable_asset_keys
    assert {key.path[-1] for key in keys} == {"postgres", "redis"}


def test_schedules_run_where_the_schema_says_so(project: Project) -> None:
    found = {}
    for environment in ENVIRONMENTS:
        definitions = build_definitions(environment, overrides={"project": project})
        schedule = definitions.resolve_schedule_def("health_schedule")
        sensor = definitions.resolve_sensor_def("container_events")
        assert (schedule.default_status.value == "RUNNING") == (
            sensor.default_status.value == "RUNNING"
        )
        found[environment] = (
            schedule.cron_schedule,
            schedule.execution_timezone,
            schedule.default_status.value,
        )
    assert found == {
        "development": ("*/10 * * * *", "UTC", "STOPPED"),
        "staging": ("*/5 * * * *", "Europe/Berlin", "RUNNING"),
        "production": ("*/10 * * * *", "UTC", "RUNNING"),
        "testing": ("*/10 * * * *", "UTC", "STOPPED"),
    }


def test_schedule_asks_for_the_checks_only(
    definitions: dg.Definitions, control: FakeControl
) -> None:
    schedule = definitions.resolve_schedule_def("health_schedule")
    context = dg.build_schedule_context(
        repository_def=definitions.get_repository_def(),
        resources={"wipe": FakeWipes(control.catalogue)},
    )
    data = schedule.evaluate_tick(context)
    assert data.run_requests is not None
    assert len(data.run_requests) == 1
    job = definitions.resolve_job_def(schedule.job_name)
    assert job.asset_layer.executable_asset_keys == set()
    assert len(job.asset_layer.asset_graph.asset_check_keys) >= 10


def test_unknown_override_is_refused(project: Project) -> None:
    with pytest.raises(InputError, match="did you mean 'control'"):
        build_definitions("development", overrides={"project": project, "controll": 1})


def test_names_that_dagster_cannot_tell_apart_are_refused(project: Project) -> None:
    text = project.schema_path.read_text()
    text = text.replace("  core: {network: core", "  a-b: {network: core").replace(
        "  inference: {network: inference, depends_on: [core]",
        "  a_b: {network: inference, depends_on: [a-b]",
    )
    text = text.replace("stacks: [core, inference]", "stacks: [a-b, a_b]")
    text = text.replace("stacks: [core]", "stacks: [a-b]")
    project.schema_path.write_text(text)
    with pytest.raises(InputError, match="same name in Dagster"):
        build_definitions("development", overrides={"project": project})


def test_each_build_is_fresh(project: Project) -> None:
    first = build_definitions("development", overrides={"project": project})
    second = build_definitions("development", overrides={"project": project})
    assert first is not second
    assert first.assets is not second.assets


def test_loading_needs_no_engine_and_no_docker_package(project: Project) -> None:
    program = (
        "import sys\n"
        "import mmstack_ops.orchestration.definitions as d\n"
        "d.development.get_repository_def().get_all_jobs()\n"
        "assert d.development is d.development\n"
        "print([m for m in ('docker', 'boto3', 'pyrage', 'jinja2') if m in sys.modules])\n"
        "try:\n d.nowhere\nexcept AttributeError:\n print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "refused"
    loaded = done.stdout.splitlines()[-2]
    # dagster itself imports jinja2 nowhere; docker must wait for the first use.
    assert "docker" not in loaded
    assert "boto3" not in loaded
    assert "pyrage" not in loaded
