"""What deploy/ and dagster_home/ hold is what Dagster and Compose accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import ComposeSpecification  # type: ignore[attr-defined]
from dagster._core.instance.config import dagster_instance_config
from dagster._core.launcher import RunLauncher
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._serdes import ConfigurableClassData

from mmstack_ops.orchestration.run_launcher import ProcessTagMixin
from tests.orchestration.fakes import ENVIRONMENTS

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
VARIABLES = (
    "DAGSTER_POSTGRES_HOST",
    "DAGSTER_POSTGRES_USER",
    "DAGSTER_POSTGRES_PASSWORD",
    "DAGSTER_POSTGRES_DB",
    "MMSTACK_OPS_IMAGE",
    "MMSTACK_OPS_NETWORK",
)


@pytest.fixture
def configuration(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")
    values, _ = dagster_instance_config(str(request.param))
    return values


both = pytest.mark.parametrize(
    "configuration", [DEPLOY, REPOSITORY / "dagster_home"], indirect=True, ids=lambda p: p.name
)


@both
def test_dagster_accepts_the_instance_and_it_is_careful(configuration: dict[str, Any]) -> None:
    assert configuration["telemetry"] == {"enabled": False}
    assert configuration["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
    coordinator = configuration["run_coordinator"]["config"]
    assert coordinator["dequeue_interval_seconds"] == 1
    monitoring = configuration["run_monitoring"]
    assert monitoring["max_resume_run_attempts"] == 0
    assert monitoring["free_slots_after_run_end_seconds"] > 0


@both
def test_the_launcher_knows_runs_of_the_command_line(configuration: dict[str, Any]) -> None:
    chosen = configuration["run_launcher"]
    data = ConfigurableClassData(
        chosen["module"], chosen["class"], yaml.safe_dump(chosen["config"])
    )
    launcher = data.rehydrate(as_type=RunLauncher)  # type: ignore[type-abstract]
    assert isinstance(launcher, ProcessTagMixin)
    assert launcher.supports_check_run_worker_health


@pytest.mark.parametrize("configuration", [DEPLOY], indirect=True)
def test_production_stores_in_postgresql(configuration: dict[str, Any]) -> None:
    database = configuration["storage"]["postgres"]["postgres_db"]
    assert database["password"] == {"env": "DAGSTER_POSTGRES_PASSWORD"}


@pytest.mark.parametrize("folder", [REPOSITORY, DEPLOY], ids=["embedded", "production"])
def test_workspaces_name_every_environment(folder: Path) -> None:
    origins = location_origins_from_yaml_paths([str(folder / "workspace.yaml")])
    assert {origin.location_name for origin in origins} == set(ENVIRONMENTS)


def test_production_compose_publishes_the_proxy_and_nothing_else() -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ComposeSpecification.model_validate(document)
    services = document["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert all(
        port.startswith("${MMSTACK_OPS_BIND:-127.0.0.1}:") for port in services["proxy"]["ports"]
    )
    assert {f"code-{name}" for name in ENVIRONMENTS} <= set(services)
    assert "volumes" not in services["webserver-read-only"]


def test_run_containers_get_names_of_variables_and_no_values() -> None:
    config = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())["run_launcher"]["config"]
    assert not [name for name in config["env_vars"] if "=" in name]
    environment = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-ops"]["environment"]
    assert set(config["env_vars"]) <= set(environment)
