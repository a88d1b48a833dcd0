"""The UI's own API on a real engine: materialize, cancel, look, and nothing secret anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.stacks.events import ApplyEvent
from mmstack_ops.orchestration.inline_run import run_job
from tests.e2e.product import ENVIRONMENTS, Product, Ui
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def shown() -> tuple[str, ...]:
    return ENVIRONMENTS


MATERIALIZATION = """query ($path: [String!]!) { assetOrError(assetKey: {path: $path}) {
  ... on Asset { assetMaterializations(limit: 1) { runId metadataEntries { label
    ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
    ... on FloatMetadataEntry { floatValue } } } } } }"""


def _latest(ui: Ui, *path: str) -> tuple[str, dict[str, Any]]:
    found = ui.ask(MATERIALIZATION, path=list(path))["assetOrError"]["assetMaterializations"]
    entries = {
        entry["label"]: entry.get("text") or entry.get("mdStr") or entry.get("floatValue")
        for entry in found[0]["metadataEntries"]
    }
    return found[0]["runId"], entries


def test_materialize_in_the_ui_starts_a_container(ui: Ui, product: Product) -> None:
    key = ["development", "core", "postgres"]
    run = ui.materialize(key)
    ui.wait_for(run, "SUCCESS")
    assert product.containers() == {"postgres": "running"}
    made_by, metadata = _latest(ui, *key)
    assert made_by == run
    assert metadata["outcome"] == "created"
    assert metadata["image"] == "mmstack-lab/postgres:lab"
    assert metadata["seconds_to_healthy"] > 0
    container = product.engine.containers.get(metadata["container_id"])
    assert container.attrs["State"]["Health"]["Status"] == "healthy"
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    assert network["IPAddress"] in metadata["addresses"]
    assert "->5432/tcp" in metadata["ports"]


def test_the_command_line_finds_it_unchanged(ui: Ui, product: Product) -> None:
    events: list[ApplyEvent] = []
    with product.variables():
        outcome = run_job(open_project(), "development", "start_core", on_event=events.append)
    assert outcome.success, outcome.error
    by_service = {result.service: result.outcome for result in outcome.results}
    assert by_service["postgres"] == "unchanged"
    assert by_service["redis"] == "created"
    assert ui.status(outcome.run_id) == "SUCCESS"
    # The run stands under the job of its code location, like one that the UI launched.
    found = ui.ask(
        """query ($id: ID!) { runOrError(runId: $id) { ... on Run { jobName
             repositoryOrigin { repositoryLocationName repositoryName } } } }""",
        id=outcome.run_id,
    )["runOrError"]
    assert found == {
        "jobName": "start_core",
        "repositoryOrigin": {
            "repositoryLocationName": "development",
            "repositoryName": "__repository__",
        },
    }
    listed = ui.ask(
        """query { pipelineOrError(params: {pipelineName: "start_core",
             repositoryName: "__repository__", repositoryLocationName: "development"}) {
             ... on Pipeline { runs(limit: 5) { id } } } }"""
    )
    assert {"id": outcome.run_id} in listed["pipelineOrError"]["runs"]


def test_an_unchanged_start_touches_nothing(ui: Ui, product: Product) -> None:
    """How long it takes is what ``bench/commands.py`` measures."""
    before = product.lives()
    with product.variables():
        outcome = run_job(open_project(), "development", "start_core", on_event=lambda _: None)
    assert outcome.success, outcome.error
    assert {result.outcome for result in outcome.results} == {"unchanged"}
    assert product.lives() == before


def test_the_health_job_passes_and_a_removed_container_shows(ui: Ui, product: Product) -> None:
    selector = {
        "repositoryLocationName": "development",
        "repositoryName": "__repository__",
        "pipelineName": "check_health",
    }
    ui.wait_for(ui.launch(selector), "SUCCESS")
    assert _check(ui, "qdrant", "healthy") == (True, "healthy: 1 of 1 replicas are up")
    (container,) = [c for c in product.found() if c.name.endswith("-qdrant-1")]
    container.remove(force=True)
    ui.wait_for(ui.launch(selector), "SUCCESS")
    passed, description = _check(ui, "qdrant", "healthy")
    assert not passed
    assert "no run removed it" in description


def _check(ui: Ui, service: str, name: str) -> tuple[bool, str]:
    found = ui.ask(
        """query ($path: [String!]!, $name: String!) {
             assetCheckExecutions(assetKey: {path: $path}, checkName: $name, limit: 1) {
               evaluation { success description } } }""",
        path=["development", "core", service],
        name=name,
    )["assetCheckExecutions"]
    evaluation = found[0]["evaluation"]
    return evaluation["success"], evaluation["description"]


def _never_healthy(schema: dict[str, Any]) -> None:
    service = schema["services"]["minio"]
    service["healthcheck"] = {"test": ["CMD", "false"], "start_period": "10m", "interval": "1s"}
    service["healthy_within"] = "10m"


def test_terminate_in_mid_start_leaves_nothing_half_made(ui: Ui, product: Product) -> None:
    before = product.containers()
    minio = next(c for c in product.found() if c.name.endswith("-minio-1"))
    first = minio.id
    product.change_schema(_never_healthy)
    ui.ask(
        """mutation { reloadRepositoryLocation(repositoryLocationName: "development") {
             __typename } }"""
    )
    ui.wait_until_loaded()
    run = ui.materialize(["development", "core", "minio"])
    # Its successor stands there and doesn't become healthy.
    wait_until(lambda: first not in _running_minios(product) or _is_replaced(product), seconds=300)
    ui.wait_for(run, "STARTED")
    ui.terminate(run)
    ui.wait_for(run, "CANCELED")
    # The previous container is back, under its own name, and nothing of the new one stays.
    assert _running_minios(product) == [first]
    assert product.containers() == before
    assert not [c.name for c in product.found() if ".mmstack-" in c.name]


def _running_minios(product: Product) -> list[str]:
    return [
        c.id
        for c in product.found()
        if c.status == "running" and c.labels["com.docker.compose.service"] == "minio"
    ]


def _is_replaced(product: Product) -> bool:
    return len(_running_minios(product)) > 1


def test_no_secret_is_in_dagster_home_or_logs(ui: Ui, product: Product) -> None:
    secrets = product.secrets()
    assert len(secrets) > 5
    files = [p for p in product.home.rglob("*") if p.is_file()] + [
        product.root / "webserver.log",
        product.root / "daemon.log",
    ]
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            # SQLite takes its journal away when the last connection closes.
            assert path.suffix in (".db-wal", ".db-shm", ".db-journal"), path
            continue
        found = [secret[:2] for secret in secrets if secret.encode() in content]
        assert not found, f"{_shown(path, product)} holds {len(found)} secrets"


def _shown(path: Path, product: Product) -> str:
    return str(path.relative_to(product.root))
