"""Two environments on one engine, and another address plan: nobody takes another's addresses."""

from __future__ import annotations

from typing import Any

import pytest

from mmstack_ops.domain.stacks import labels
from tests.allocation import BESIDE
from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module", autouse=True)
def _secrets_of_both(product: Product) -> None:
    product.done("-e", "staging", "secrets", "generate")


def _plans(schema: dict[str, Any]) -> dict[str, Any]:
    plans: dict[str, Any] = schema["config"]["address_plans"]
    return plans


def _other_subnets(schema: dict[str, Any], third: int) -> dict[str, str]:
    """Return subnets beside those of the plan in force."""
    subnets = _plans(schema)["test"]["subnets"]
    prefix = subnets["core"].rsplit(".", 2)[0]
    return {name: f"{prefix}.{third + i}.0/24" for i, name in enumerate(subnets)}


def _give_staging_its_own_plan(schema: dict[str, Any]) -> None:
    first = _plans(schema)["test"]
    _plans(schema)["beside"] = {
        "network_suffix": f"{first['network_suffix']}-beside",
        "port_offset": first["port_offset"] + BESIDE,
        "subnets": _other_subnets(schema, 220),
    }
    schema["environments"]["staging"]["address_plan"] = "beside"


def _take_a_private_plan(schema: dict[str, Any]) -> None:
    first = _plans(schema)["test"]
    _plans(schema)["elsewhere"] = {**first, "subnets": _other_subnets(schema, 240)}
    schema["config"]["address_plan"] = "elsewhere"


def _host_port(product: Product, environment: str) -> int:
    ports = product.one("redis", environment).attrs["NetworkSettings"]["Ports"]
    (published,) = ports["6379/tcp"]
    assert published["HostIp"] == "127.0.0.1"
    return int(published["HostPort"])


def _answers(product: Product, environment: str) -> bool:
    ping = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli ping'
    output: bytes = product.one("redis", environment).exec_run(["sh", "-c", ping]).output
    return output.strip() == b"PONG"


def test_the_same_addresses_are_refused(product: Product) -> None:
    product.done("start", "redis")
    before = product.lives()
    for verb in ("plan", "start"):
        ended = product.mmstack("-e", "staging", verb, "redis")
        assert ended.code == 1, ended.text
        assert "Traceback" not in ended.text
        assert f"belongs to environment development of {product.owner}" in ended.stderr
        assert "environments.staging.address_plan" in ended.stderr
    assert product.lives() == before
    assert product.found("staging") == []


def test_with_addresses_of_their_own_both_run(product: Product) -> None:
    product.done("start", "redis")
    before = product.lives("development")
    product.change_schema(_give_staging_its_own_plan)
    product.done("-e", "staging", "start", "redis")
    assert product.lives("development") == before
    assert _host_port(product, "staging") == _host_port(product, "development") + BESIDE
    (first,) = product.one("redis").attrs["NetworkSettings"]["Networks"]
    (second,) = product.one("redis", "staging").attrs["NetworkSettings"]["Networks"]
    assert second == f"{first}-beside"
    assert _answers(product, "development")
    assert _answers(product, "staging")
    for environment in ("development", "staging"):
        states = product.done("-e", environment, "network", "validate", "--json").document()
        assert {one["verdict"] for one in states["networks"]} == {"ok", "absent"}
        report = product.mmstack("-e", environment, "network", "conflicts", "--json").document()
        verdicts = {row["verdict"] for row in report["rows"]}
        assert verdicts.isdisjoint({"conflict", "drift"}), report["rows"]
        assert product.done("-e", environment, "network", "health", "--json").document()["clean"]
    together = product.done("status", "--all", "--json").document()["environments"]
    running = {
        document["environment"]: [
            one["service"] for one in document["services"] if one["condition"] == "healthy"
        ]
        for document in together
    }
    assert {name: found for name, found in running.items() if found} == {
        "development": ["redis"],
        "staging": ["redis"],
    }


def test_each_stops_alone(product: Product) -> None:
    product.change_schema(_give_staging_its_own_plan)
    product.done("start", "redis")
    product.done("-e", "staging", "start", "redis")
    staging = product.lives("staging")
    product.done("stop")
    assert product.found("development") == []
    assert product.lives("staging") == staging
    assert _answers(product, "staging")
    product.done("-e", "staging", "stop")
    assert product.found() == []
    mine = {"label": f"{labels.OWNER}={product.owner}"}
    assert product.engine.networks.list(filters=mine) == []


def test_another_address_plan_takes_effect_after_a_stop(product: Product) -> None:
    product.done("start", "redis")
    before = product.lives()
    old, used = product.subnet("core"), product.network("core").attrs["IPAM"]["Config"]
    assert used[0]["Subnet"] == old
    product.change_schema(_take_a_private_plan)
    new = product.subnet("core", "elsewhere")
    ended = product.mmstack("start", "redis")
    assert ended.code == 1, ended.text
    assert old in ended.stderr
    assert new in ended.stderr
    assert "stop stack core" in ended.stderr
    assert product.lives() == before
    product.done("stop")
    product.done("start", "redis")
    network = product.network("core")
    assert network.attrs["IPAM"]["Config"][0]["Subnet"] == new
    (attached,) = product.one("redis").attrs["NetworkSettings"]["Networks"].values()
    assert attached["IPAddress"].rsplit(".", 1)[0] == new.rsplit(".", 1)[0]
    assert _answers(product, "development")
