"""`mmstack jmeter` in the testing environment: what answers passes, what fails is counted."""

from __future__ import annotations

import pytest

from mmstack_ops.adapters.load.jmeter import DEFAULT_PLAN
from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
TESTING = ("-e", "testing")


@pytest.fixture(scope="module")
def testing(product: Product) -> Product:
    """The product, with the plan's services and JMeter up."""
    product.done(*TESTING, "secrets", "generate")
    none = product.mmstack(*TESTING, "jmeter")
    assert none.code == 1
    assert "mmstack -e testing start testing" in none.stderr
    product.done(*TESTING, "start", "jmeter", "allure-report")
    return product


def test_the_projects_plan_passes(testing: Product) -> None:
    done = testing.done(*TESTING, "jmeter", "--users", "3", "--rounds", "4", "--json")
    found = {row["label"]: row for row in done.document()["figures"]}
    assert {label: row["samples"] for label, row in found.items()} == {
        "allure-report": 12,
        "allure-results": 12,
        "total": 24,
    }
    assert found["total"]["errors"] == 0
    # The server's own log saw the requests: nothing was made up.
    log = testing.one("allure-results", "testing").logs().decode()
    assert log.count("GET /allure-docker-service/version") >= 12
    kept = testing.one("jmeter", "testing").exec_run(["ls", done.document()["folder"]])
    assert {"plan.jmx", "samples.jtl"} <= set(kept.output.decode().split())


def test_failed_requests_are_counted_and_exit_1(testing: Product) -> None:
    server = testing.one("allure-results", "testing")
    server.exec_run(["touch", "/tmp/stand-in-fail"])
    try:
        ended = testing.mmstack(*TESTING, "jmeter", "--users", "1", "--rounds", "5")
    finally:
        server.exec_run(["rm", "/tmp/stand-in-fail"])
    assert ended.code == 1
    row = next(line for line in ended.stdout.splitlines() if line.startswith("allure-results"))
    assert row.split()[1:3] == ["5", "5"]
    assert "503" in row


def test_a_plan_that_jmeter_refuses_is_a_failure(testing: Product) -> None:
    plan = testing.root / "broken.jmx"
    plan.write_text("<jmeterTestPlan><hashTree>")
    ended = testing.mmstack(*TESTING, "jmeter", str(plan))
    assert ended.code == 1
    assert "JMeter didn't carry out broken.jmx" in ended.stderr
    missing = testing.mmstack(*TESTING, "jmeter", "nowhere.jmx")
    assert missing.code == 2
    assert "nowhere.jmx can't be read" in missing.stderr


def test_a_plan_that_takes_too_long_is_ended(testing: Product) -> None:
    plan = testing.root / "long.jmx"
    text = (testing.root / DEFAULT_PLAN).read_text()
    plan.write_text(text.replace("__P(rounds,20)", "__P(rounds,1000000)"))
    ended = testing.mmstack(*TESTING, "jmeter", str(plan), "--within", "1")
    assert ended.code == 1
    assert "not done after 1 s" in ended.stderr
    running = testing.one("jmeter", "testing").top()["Processes"]
    assert not [one for one in running if "long" in " ".join(one) or "jmeter -n" in " ".join(one)]
