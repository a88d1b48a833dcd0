"""From the operator's own addresses to private ones: one setting, then everything is clean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.alone]

PUBLIC = {"multimodal-ai-net", "multimodal-ui-net", "multimodal-testing-net"} | {
    "multimodal-monitoring-net"
}


def _shipped_plan(schema: dict[str, Any]) -> None:
    """The plans as they are shipped, but for names and ports: others use this engine too."""
    plans = schema["config"]["address_plans"]
    for name in ("operator", "private"):
        plans[name]["network_suffix"] = plans["test"]["network_suffix"]
        plans[name]["port_offset"] = plans["test"]["port_offset"]
    schema["config"]["address_plan"] = "operator"


def _switch(schema: dict[str, Any]) -> None:
    schema["config"]["address_plan"] = "private"


def _public(product: Product) -> dict[str, str]:
    """Return network → remedy, of the warnings about public addresses."""
    ended = product.mmstack("network", "conflicts", "--json")
    return {
        row["network"]: row["remedy"]
        for row in ended.document()["rows"]
        if row["source"] == "private addresses" and row["verdict"] == "warn"
    }


def test_the_private_plan_works_from_the_warning_to_a_healthy_stack(product: Product) -> None:
    suffix = f"-{product.owner}"
    product.change_schema(_shipped_plan)
    warned = _public(product)
    assert set(warned) == {f"{name}{suffix}" for name in PUBLIC}
    assert all("set config.address_plan to one of: private" in text for text in warned.values())

    product.change_schema(_switch)
    assert _public(product) == {}
    started = ("redis", "qdrant", "allure-results")
    product.done("start", *started)
    core = product.network("core").attrs["IPAM"]["Config"][0]["Subnet"]
    assert core == product.subnet("core", "private") == "10.130.0.0/24"
    states = product.done("network", "validate", "--json").document()["networks"]
    verdicts = {one["stack"]: one["verdict"] for one in states}
    assert (verdicts["core"], verdicts["testing"]) == ("ok", "ok")
    assert set(verdicts.values()) == {"ok", "absent"}
    health = product.done("network", "health", "--json").document()
    assert health["clean"]
    assert len(health["gateways"]) >= len(started)
    # Its own networks are no conflict of it.
    again = product.mmstack("network", "conflicts", "--json").document()
    assert [row for row in again["rows"] if row["verdict"] in ("conflict", "drift")] == []

    # Back, with containers there: refused with what to do, and nothing touched.
    before = product.lives()
    product.change_schema(_shipped_plan)
    ended = product.mmstack("start", "redis")
    assert ended.code == 1
    assert "stop stack core" in ended.stderr
    assert product.lives() == before
    drift = product.mmstack("network", "validate", "--json")
    assert drift.code == 1
    assert "drift" in {one["verdict"] for one in drift.document()["networks"]}
    product.change_schema(_switch)
    product.done("stop")
    assert product.found() == []
