"""Two starts at once, Ctrl-C, kills: on a real engine nothing half-made stays."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from docker.models.containers import Container

from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.stacks.naming import NEW_SUFFIX, OLD_SUFFIX
from tests.e2e.product import Product, Running, end_of
from tests.integration.world import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
]

CORE = {"postgres", "redis", "qdrant", "minio"}
FIRST_SERVICE_UP = 120


def test_two_starts_at_the_same_moment(product: Product) -> None:
    product.done("stop")
    both = [product.begin("start", "core", "--json") for _ in range(2)]
    ended = [end_of(process) for process in both]
    assert [one.code for one in ended] == [0, 0], [one.text for one in ended]
    assert sorted(c.labels[labels.SERVICE] for c in product.found()) == sorted(CORE)
    first, second = (set(one.outcomes().values()) for one in ended)
    assert {*first} | {*second} == {"created", "unchanged"}, "one made all, the other nothing"
    assert len(first) == len(second) == 1


def _delay(product: Product, seconds: int | None) -> None:
    """Make vllm's stand-in slow to answer, or as quick as before."""

    def change(schema: dict[str, Any]) -> None:
        environment = schema["services"]["vllm"]["environment"]
        environment.pop("STANDIN_START_DELAY", None)
        if seconds is not None:
            environment["STANDIN_START_DELAY"] = str(seconds)

    product.change_schema(change)


def _vllms(product: Product) -> list[Container]:
    return [c for c in product.found() if c.labels[labels.SERVICE] == "vllm"]


def _start_and_wait_for_probes(product: Product, count: int) -> Running:
    """Begin a start of vllm, and wait until the new container runs and is probed in vain."""
    process = product.begin("start", "vllm")

    def probed() -> bool:
        assert process.poll() is None, end_of(process).text
        found = _vllms(product)
        return len(found) == count and any(
            c.status == "running"
            and c.attrs["State"]["Health"]["Status"] == "starting"
            and "STANDIN_START_DELAY=60" in c.attrs["Config"]["Env"]
            for c in found
        )

    wait_until(probed, seconds=FIRST_SERVICE_UP)
    return process


def _half_made(product: Product) -> list[str]:
    return [c.name for c in product.found() if c.name.endswith((NEW_SUFFIX, OLD_SUFFIX))]


def _is_healthy(product: Product) -> bool:
    status: str = product.one("vllm").attrs["State"]["Health"]["Status"]
    return status == "healthy"


def test_ctrl_c_takes_a_first_start_back(product: Product) -> None:
    product.done("stop", "vllm")
    _delay(product, 60)
    process = _start_and_wait_for_probes(product, 1)
    process.send_signal(signal.SIGINT)
    ended = end_of(process)
    assert ended.code == 130, ended.text
    assert "Traceback" not in ended.text, ended.text
    assert "cancelled" in ended.text
    assert _vllms(product) == []
    assert _half_made(product) == []
    _delay(product, None)
    assert product.done("start", "vllm", "--json").outcomes()["vllm"] == "created"
    assert _is_healthy(product)


def test_ctrl_c_in_an_update_gives_the_old_container_back(product: Product) -> None:
    _delay(product, None)
    product.done("start", "vllm")
    old = product.one("vllm").id
    _delay(product, 60)
    process = _start_and_wait_for_probes(product, 2)
    process.send_signal(signal.SIGINT)
    ended = end_of(process)
    assert ended.code == 130, ended.text
    assert _half_made(product) == []
    assert product.one("vllm").id == old
    assert product.one("vllm").status == "running"
    _delay(product, None)
    assert product.done("start", "vllm", "--json").outcomes()["vllm"] in ("unchanged", "started")


def test_the_start_after_a_kill_heals(product: Product) -> None:
    _delay(product, None)
    product.done("start", "vllm")
    old = product.one("vllm").id
    _delay(product, 60)
    process = _start_and_wait_for_probes(product, 2)
    process.kill()
    process.communicate()
    assert len(_vllms(product)) == 2, "nobody was left to take anything back"
    _delay(product, None)
    ended = product.done("start", "vllm", "--json", seconds=300)
    assert ended.outcomes()["vllm"] in ("recreated", "started")
    assert _half_made(product) == []
    assert product.one("vllm").id == old, "the container that was right is back"
    assert _is_healthy(product)
    after = product.done("start", "vllm", "--json")
    assert set(after.outcomes().values()) == {"unchanged"}
