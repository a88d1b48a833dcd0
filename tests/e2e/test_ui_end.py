"""The UI is stopped while a run of it is at work: the run takes back what it had begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import DagsterRunStatus

from mmstack_ops.adapters.project import open_project
from mmstack_ops.orchestration.instance import open_instance
from tests.e2e.product import Product, Ui, free_port
from tests.integration.world import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def _never_healthy(schema: dict[str, Any]) -> None:
    service = schema["services"]["redis"]
    service["healthcheck"] = {"test": ["CMD", "false"], "start_period": "10m", "interval": "1s"}
    service["healthy_within"] = "10m"


@pytest.fixture
def own_ui(product: Product) -> Iterator[Ui]:
    """The UI as ``mmstack ui`` runs it."""
    product.show_in_ui("development")
    ui = Ui(product, free_port())
    product.done("ui", "--detach", "--port", str(ui.port))
    try:
        yield ui
    finally:
        product.mmstack("ui", "--stop")


def test_stopping_the_ui_takes_back_what_its_run_had_begun(product: Product, own_ui: Ui) -> None:
    product.change_schema(_never_healthy)
    own_ui.wait_until_loaded()
    run_id = own_ui.materialize(["development", "core", "redis"])
    wait_until(lambda: product.containers().get("redis") == "running", seconds=300)
    product.done("ui", "--stop")
    assert product.found() == [], "it ended in order, and wasn't killed"
    with product.variables(), open_instance(open_project()) as instance:
        run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == DagsterRunStatus.FAILURE
