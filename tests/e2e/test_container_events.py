"""What becomes unhealthy is seen by the daemon's sensor and restarted, with nobody at hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.product import Product, Ui
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SENSOR = {
    "repositoryLocationName": "development",
    "repositoryName": "__repository__",
    "sensorName": "container_events",
}
TICKS = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
  ... on Sensor { sensorState { status ticks(limit: 50) { status runIds
    error { message } } } } } }"""
OBSERVATIONS = """query ($path: [String!]!) { assetOrError(assetKey: {path: $path}) {
  ... on Asset { assetObservations(limit: 50) { description metadataEntries { label
    ... on TextMetadataEntry { text } } } } } }"""


def _restarts_soon(schema: dict[str, Any]) -> None:
    schema["environments"]["development"]["on_unhealthy"] = "restart"
    service = schema["services"]["redis"]
    service["healthcheck"] |= {"interval": "1s", "timeout": "1s", "retries": 2}
    # A process that hangs doesn't answer the stop signal: the restart waits for this.
    service["stop_grace_period"] = "1s"


@pytest.fixture(scope="module")
def product(product: Product) -> Product:
    """One whose environment restarts what became unhealthy, with quick health checks."""
    product.change_schema(_restarts_soon)
    return product


@pytest.fixture(scope="module")
def switched_on(ui: Ui, product: Product) -> Ui:
    """The UI of a running redis, with the sensor switched on and its first tick done."""
    product.done("start", "redis")
    switched = ui.ask(
        """mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) {
             __typename ... on PythonError { message } } }""",
        sensor=SENSOR,
    )["startSensor"]
    assert switched["__typename"] == "Sensor", switched
    # It begins with what happens after its first look.
    wait_until(lambda: bool(_ended_ticks(ui)), seconds=300)
    return ui


def _ended_ticks(ui: Ui) -> list[dict[str, Any]]:
    state = ui.ask(TICKS, sensor=SENSOR)["sensorOrError"]["sensorState"]
    failed = [tick["error"]["message"] for tick in state["ticks"] if tick["error"]]
    assert not failed, failed
    return [tick for tick in state["ticks"] if tick["status"] in ("SKIPPED", "SUCCESS")]


def _runs(ui: Ui) -> list[str]:
    return [run for tick in _ended_ticks(ui) for run in tick["runIds"]]


def test_a_hung_service_is_reported_and_restarted(switched_on: Ui, product: Product) -> None:
    ui = switched_on
    before = product.one("redis")
    assert before.attrs["State"]["Health"]["Status"] == "healthy"

    before.kill("SIGSTOP")
    wait_until(lambda: bool(_runs(ui)), seconds=300)
    (run,) = _runs(ui)
    ui.wait_for(run, "SUCCESS", seconds=300)

    after = product.one("redis")
    assert after.id == before.id, "restarted, not replaced"
    assert after.attrs["State"]["StartedAt"] > before.attrs["State"]["StartedAt"]
    assert after.attrs["State"]["Health"]["Status"] == "healthy"
    found = ui.ask(
        "query ($id: ID!) { runOrError(runId: $id) { ... on Run { jobName tags {key value} } } }",
        id=run,
    )["runOrError"]
    assert found["jobName"] == "restart_core"
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    assert tags["dagster/sensor_name"] == "container_events"
    assert tags["mmstack/service"] == "redis"


def test_its_history_says_what_happened(switched_on: Ui) -> None:
    def history() -> list[str]:
        path = ["development", "core", "redis"]
        found = switched_on.ask(OBSERVATIONS, path=path)["assetOrError"]["assetObservations"]
        return [
            entry["text"]
            for one in found
            for entry in one["metadataEntries"]
            if entry["label"] == "action"
        ]

    # The tick after the restart reports that it is well again, and asks for nothing more.
    wait_until(lambda: "health_status: healthy" in history(), seconds=300)
    assert {"health_status: unhealthy", "die", "start"} <= set(history())
    assert len(_runs(switched_on)) == 1
