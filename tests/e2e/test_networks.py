"""Networks by the command line, on a real engine."""

from __future__ import annotations

import pytest

from mmstack_ops.domain.stacks import labels
from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


def test_conflicts_are_shown_with_what_is_free(product: Product) -> None:
    document = product.done("network", "conflicts", "--json").document()
    assert document["clean"]
    sources = {row["source"] for row in document["rows"]}
    assert sources == {"plan", "engine", "default pools", "host", "private addresses"}


def test_the_networks_of_a_running_stack_are_as_declared(product: Product) -> None:
    product.done("start", "redis")
    try:
        (core,) = (
            one
            for one in product.done("network", "validate", "--json").document()["networks"]
            if one["stack"] == "core"
        )
        assert (core["verdict"], core["used"]) == ("ok", 2)
        network = product.engine.networks.get(core["name"])
        network.disconnect(product.one("redis"))
        ended = product.mmstack("network", "validate")
        assert ended.code == 1
        assert "others can't reach it there" in " ".join(ended.stdout.split())
    finally:
        product.done("stop", "redis")


def test_an_orphan_goes_and_a_look_alike_stays(product: Product) -> None:
    marks = {labels.OWNER: product.owner, labels.ENVIRONMENT: "development"}
    create = product.engine.networks.create
    orphan = create(f"{product.owner}-left-over", labels=marks)
    alike = create(f"{product.owner}-other", labels={"somebody": "else"})
    try:
        shown = product.done("network", "cleanup", "--plan", "--json").document()
        assert [n["name"] for n in shown["networks"] if n["orphan"]] == [orphan.name]
        refused = product.mmstack("network", "cleanup")
        assert refused.code == 2
        assert "give --yes" in refused.stderr

        done = product.done("network", "cleanup", "--yes", "--json").document()
        assert done["success"]
        assert done["run_id"]
        names = {network.name for network in product.engine.networks.list()}
        assert orphan.name not in names
        assert alike.name in names
        assert "no network is orphaned" in product.done("network", "cleanup").stdout
    finally:
        alike.remove()


def test_who_can_open_whose_ports_is_asked_from_inside(product: Product) -> None:
    started = ("redis", "qdrant", "allure-results")
    product.done("start", *started)
    try:
        document = product.done("network", "health", "--json").document()
        cells = {(one["source"], one["target"], one["port"]): one for one in document["cells"]}
        assert {source for source, _, _ in cells} == set(started)
        assert {one["verdict"] for one in cells.values()} == {"ok"}
        assert {one["source"] for one in document["gateways"]} == set(started)
        assert all(one["reachable"] for one in document["gateways"])
        # One stack's members reach each other, and nobody reaches another stack.
        assert cells["redis", "qdrant", 6333]["allowed"]
        assert not cells["allure-results", "redis", 6379]["allowed"]
        assert not cells["redis", "allure-results", 5050]["allowed"]

        # Somebody joins a network by hand: now there is a way that nothing declares.
        (core,) = product.one("redis").attrs["NetworkSettings"]["Networks"]
        product.engine.networks.get(core).connect(product.one("allure-results"))
        ended = product.mmstack("network", "health")
        assert ended.code == 1
        assert "allure-results → redis:6379 exposed" in " ".join(ended.stdout.split())
    finally:
        product.done("stop", *started)
