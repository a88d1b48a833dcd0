"""`mmstack` as an operator types it, on a real engine."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.product import Product, Running, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

CORE = {"postgres", "redis", "qdrant", "minio"}


class Mmstack:
    """Runs the command in the product's project."""

    def __init__(self, product: Product) -> None:
        self.product = product

    def begin(self, *arguments: str) -> Running:
        return self.product.begin(*arguments)

    def __call__(self, *arguments: str, exits: int = 0) -> str:
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == exits, out + err
        return out if exits == 0 else err

    def document(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture(scope="module")
def mmstack(product: Product) -> Mmstack:
    """The program as an operator's shell starts it."""
    return Mmstack(replace(product, own_interpreter=True))


def outcomes(document: Any) -> dict[str, str]:
    return {s["service"]: s["outcome"] for s in document["services"]}


def test_a_day_of_the_core_stack(product: Product) -> None:
    mmstack = Mmstack(product)
    planned = mmstack.document("plan", "core")
    created = {a["service"] for a in planned["actions"] if a["action"] == "create"}
    assert created == CORE
    assert product.containers() == {}

    assert outcomes(mmstack.document("start", "core")) == dict.fromkeys(CORE, "created")
    assert outcomes(mmstack.document("start", "core")) == dict.fromkeys(CORE, "unchanged")

    status = mmstack.document("status", "core")["services"]
    assert {one["service"]: one["condition"] for one in status} == dict.fromkeys(CORE, "healthy")
    assert all(one["memory_bytes"] for one in status)
    assert not [one for one in status if one["drift"]]

    lines = [json.loads(line) for line in mmstack("logs", "core", "--json").splitlines()]
    assert {line["service"] for line in lines} >= {"postgres", "redis"}
    moments = [line["timestamp"] for line in lines]
    assert moments == sorted(moments)

    assert outcomes(mmstack.document("restart", "redis")) == {"redis": "restarted"}
    assert outcomes(mmstack.document("stop", "redis")) == {"redis": "removed"}
    assert set(product.containers()) == CORE - {"redis"}
    kept = mmstack.document("stop", "core", "--keep-containers")
    assert outcomes(kept) == dict.fromkeys(CORE - {"redis"}, "stopped")
    assert set(product.containers().values()) == {"exited"}
    assert outcomes(mmstack.document("start", "core")) == {
        **dict.fromkeys(CORE - {"redis"}, "started"),
        "redis": "created",
    }
    mmstack("stop")
    assert product.containers() == {}
    again = mmstack.document("plan", "core")["actions"]
    assert {a["action"] for a in again if a["target"].endswith("postgres_data")} == {"keep"}


def test_the_doctor_finds_no_fault_on_this_machine(mmstack: Mmstack) -> None:
    findings = mmstack.document("doctor")["findings"]
    assert {f["status"] for f in findings if f["name"] in ("engine", "secrets", "images")} == {"ok"}


def test_interrupting_a_start_takes_back_what_it_began(mmstack: Mmstack, product: Product) -> None:
    process = mmstack.begin("start", "core")
    deadline = time.monotonic() + 60
    while not product.containers():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "cancelled" in err
    # What had become healthy by then may stay; nothing half-made does, nor hinders a new start.
    assert set(product.containers().values()) <= {"running"}
    mmstack("start", "core")
    mmstack("stop", "core")
    assert product.containers() == {}


def test_a_failure_is_shown_with_its_remedy(mmstack: Mmstack, product: Product) -> None:
    overrides = product.root / "nowhere.yaml"
    overrides.write_text("images: {redis: 127.0.0.1:1/nothing:1}\n")
    before = dict(product.environment)
    product.environment["MMSTACK_IMAGE_OVERRIDES"] = str(overrides)
    try:
        err = mmstack("start", "redis", exits=1)
    finally:
        product.environment.update(before)
    assert "REDIS_IMAGE" in err
    assert "Traceback" not in err
    mmstack("stop", "redis")


def test_the_ui_comes_and_goes(mmstack: Mmstack) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert url in mmstack("ui", "--detach", "--port", str(port))
    try:
        assert mmstack.document("ui", "--status")["url"] == url
        assert url in mmstack("ui", "--detach", "--port", str(port))
        assert url in mmstack("ui", "--port", str(free_port()), exits=2)
    finally:
        assert url in mmstack("ui", "--stop")
    assert mmstack.document("ui", "--status") == {"running": False}
