"""Wipes on a real engine: what goes, what survives, and what a kill in the middle leaves."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.domain.errors import CancelledError, PlanStaleError
from mmstack_ops.domain.stacks import labels
from mmstack_ops.domain.wipe.wipe_plan import WipePlan, WipeResult
from mmstack_ops.operations.backups.backup_operations import BackupOperations
from mmstack_ops.operations.stacks.stack_operations import StackOperations
from mmstack_ops.operations.wipe.wipe_lock import wipe_turn
from mmstack_ops.operations.wipe.wipe_operations import WipeOperations
from tests.e2e.look_alikes import LookAlikes, standing
from tests.e2e.product import Product, Ui, end_of

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.fault]


class KilledAtStart(StackOperations):
    """Kills its process when it is asked to start something."""

    def plan_up(self, *_: Any, **__: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL did not end the process")


def wipe_control(
    product: Product, stacks: type[StackOperations] = StackOperations
) -> WipeOperations:
    with product.variables():
        project = open_project(product.root)
    return WipeOperations(
        project,
        "development",
        stacks(project, "development"),
        BackupOperations(project, "development"),
    )


@pytest.fixture
def control(product: Product) -> WipeOperations:
    return wipe_control(product)


def wiped(control: WipeOperations, plan: WipePlan, **how: Any) -> WipeResult:
    how.setdefault("cancel", threading.Event())
    how.setdefault("on_event", lambda _: None)
    return control.wipe(plan, confirmation=plan.confirmation, holder="a test", **how)


@pytest.fixture(scope="module")
def alike(product: Product) -> Iterator[LookAlikes]:
    made = LookAlikes(product)
    try:
        yield made
    finally:
        made.remove()


@pytest.mark.parametrize("scope", ["core", "cache", "environment"])
def test_what_is_planned_goes_and_look_alikes_stay(
    product: Product, alike: LookAlikes, scope: str
) -> None:
    product.done("start", "redis")
    before = product.one("redis").id
    plan = product.done("wipe", scope, "--plan", "--json").document()
    kinds = [one["kind"] for one in plan["items"]]
    assert kinds.count("container") == 1
    assert kinds.count("volume") == 1
    assert all(one["size"] is not None for one in plan["items"] if one["kind"] == "volume")
    assert product.one("redis").id == before

    refused = product.mmstack("wipe", scope)
    assert refused.code == 2
    assert f"--confirm development/{scope}" in refused.stderr

    document = product.done("wipe", scope, "--yes", "--json").document()
    (result,) = document["runs"][0]["results"]
    assert {one["id"] for one in result["gone"]} == {one["id"] for one in plan["items"]}
    assert result["kept"] == {}
    if scope == "cache":
        assert result["started"] == ["redis"]
        assert product.one("redis").id != before
    else:
        assert standing(product) == set()
    alike.assert_untouched()


def test_a_kind_of_data_leaves_the_rest_as_it_runs(product: Product) -> None:
    product.done("start", "redis", "minio")
    redis = product.one("redis")
    set_key = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli set kept 1'
    assert redis.exec_run(["sh", "-c", set_key]).exit_code == 0
    minio = product.one("minio").id
    product.done("wipe", "db", "--yes")
    assert product.one("minio").id != minio
    assert product.one("redis").id == redis.id
    get = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli get kept'
    assert product.one("redis").exec_run(["sh", "-c", get]).output.strip() == b"1"
    product.done("wipe", "environment", "--yes")


def test_a_network_with_somebody_else_on_it_stays_and_is_named(
    product: Product, alike: LookAlikes
) -> None:
    product.done("start", "redis")
    network = product.network("core")
    network.connect(alike.containers[0])
    try:
        plan = product.done("wipe", "core", "--plan", "--json").document()
        (stays,) = plan["stays"]
        assert alike.containers[0].name in stays["why"]
        product.done("wipe", "core", "--yes")
        assert standing(product) == {network.name}
        alike.assert_untouched()
    finally:
        network.disconnect(alike.containers[0], force=True)
        product.done("wipe", "core", "--yes")
    assert standing(product) == set()


def test_an_old_plan_another_engine_and_another_volume_are_refused(
    product: Product, control: WipeOperations
) -> None:
    product.done("start", "redis")
    plan = control.plan("core")
    stale = replace(plan, made_at=datetime.now(UTC) - timedelta(minutes=16))
    with pytest.raises(PlanStaleError, match="too old"):
        wiped(control, stale)
    with pytest.raises(PlanStaleError, match="another Docker engine"):
        wiped(control, replace(plan, daemon_id="ANOTHER"))
    assert product.one("redis").status == "running"

    # Between plan and wipe the volume is made anew: what is in it now nobody has looked at.
    (volume,) = plan.of_kind("volume")
    product.one("redis").remove(force=True, v=True)
    marks = product.engine.volumes.get(volume.name).attrs["Labels"]
    product.engine.volumes.get(volume.name).remove()
    product.engine.volumes.create(volume.name, labels={**marks, labels.VOLUME_ID: "another"})
    result = wiped(control, plan)
    assert result.kept == {volume.name: "it was made anew since the plan"}
    assert volume.name in standing(product)
    wiped(control, control.plan("core"))
    assert standing(product) == set()


def journal(product: Product) -> list[dict[str, Any]]:
    """Return the lines of the newest record, as far as they are whole."""
    files = sorted((product.state / "development" / "wipes").glob("*.jsonl"))
    if not files:
        return []
    lines = files[-1].read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def kill_wipe(product: Product, scope: str, removed: int) -> None:
    """Begin a wipe and kill it with SIGKILL once so many things are written down as gone."""
    before = len(list((product.state / "development" / "wipes").glob("*.jsonl")))
    process = product.begin("wipe", scope, "--yes")
    deadline = time.monotonic() + 60
    folder = product.state / "development" / "wipes"
    while time.monotonic() < deadline:
        lines = journal(product) if len(list(folder.glob("*.jsonl"))) > before else []
        if sum("gone" in line for line in lines) >= removed and lines:
            break
        assert process.poll() is None, end_of(process).text
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def settled(product: Product) -> set[str]:
    """Return what stands once the engine has done what the killed process had asked it for.

    It stops a container before it removes it, and does both also for a client that is gone.
    """
    deadline = time.monotonic() + 60
    seen = standing(product)
    while time.monotonic() < deadline:
        time.sleep(2)
        before, seen = seen, standing(product)
        if seen == before:
            return seen
    pytest.fail("the engine goes on removing things")


@pytest.mark.parametrize(
    "removed", [1, *(pytest.param(count, marks=pytest.mark.soak) for count in (0, 2, 4))]
)
def test_a_killed_wipe_is_told_and_finished_by_the_next(
    product: Product, alike: LookAlikes, removed: int
) -> None:
    product.done("start", "redis", "qdrant")
    kill_wipe(product, "core", removed)
    ended = any("ended" in line for line in journal(product))
    left = settled(product)
    shown = product.done("wipe", "core", "--plan", "--json").document()
    assert {one["name"] for one in shown["items"]} == left
    if left and not ended:
        (told,) = shown["unfinished"]
        assert "was cut off" in told
        for name in left:
            assert name in told
    product.done("wipe", "core", "--yes")
    assert standing(product) == set()
    again = product.done("wipe", "core", "--plan", "--json").document()
    assert (again["items"], again["unfinished"]) == ([], [])
    alike.assert_untouched()


def test_killed_before_it_started_things_again_the_next_one_starts_them(
    product: Product, alike: LookAlikes
) -> None:
    # One of the look-alikes runs and says it is redis, of somebody else.
    alike.assert_untouched()
    product.done("start", "redis")
    child = os.fork()
    if child == 0:
        try:
            doomed = wipe_control(product, KilledAtStart)
            wiped(doomed, doomed.plan("cache"))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert product.found("development") == []
    shown = product.done("wipe", "cache", "--plan", "--json").document()
    assert shown["starts"] == ["redis"]
    assert "not started again: redis" in shown["unfinished"][0]
    product.done("wipe", "cache", "--yes")
    assert product.containers()["redis"] == "running"
    assert product.done("wipe", "cache", "--plan", "--json").document()["unfinished"] == []
    product.done("wipe", "core", "--yes")


def test_a_cancelled_wipe_stops_between_two_things(
    product: Product, control: WipeOperations
) -> None:
    product.done("start", "redis")
    cancel = threading.Event()

    def listen(event: Any) -> None:
        if event.message.startswith("removed container"):
            cancel.set()

    with pytest.raises(CancelledError, match="cancelled after 1 of 3"):
        wiped(control, control.plan("core"), cancel=cancel, on_event=listen)
    assert len(standing(product)) == 2
    assert "was cut off" in control.plan("core").unfinished[0]
    product.done("wipe", "core", "--yes")
    assert standing(product) == set()


def test_a_protected_environment_asks_for_a_proven_backup(product: Product) -> None:
    product.done("-e", "prod", "secrets", "generate")
    product.done("-e", "prod", "start", "redis")
    container = product.one("redis", "production").id
    confirmed = ("-e", "prod", "wipe", "core", "--confirm", "production/core")
    try:
        refused = product.mmstack("-e", "prod", "wipe", "core", "--yes")
        assert refused.code == 2
        refused = product.mmstack(*confirmed)
        assert refused.code == 2
        assert "redis: no backup" in refused.stderr
        product.done("-e", "prod", "backup", "run", "redis", "--no-copy")
        refused = product.mmstack(*confirmed)
        assert "redis: no backup is proven" in refused.stderr
        assert product.one("redis", "production").id == container
        product.done("-e", "prod", "drill", "redis", seconds=240)
        product.done(*confirmed)
        assert standing(product, "production") == set()

        product.done("-e", "prod", "start", "redis", "minio")
        refused = product.mmstack(*confirmed)
        assert "minio: no backup" in refused.stderr
        done = product.done(*confirmed, "--without-proven-backup", "--json").document()
        assert done["runs"][0]["results"][0]["unproven"] is True
        record = json.loads(_newest(product, "production").read_text().splitlines()[0])
        assert record["plan"]["unproven"] is True
    finally:
        product.mmstack(*confirmed[:3], "environment", *confirmed[4:5], "production/environment",
                        "--without-proven-backup")  # fmt: skip
    assert standing(product, "production") == set()


def _newest(product: Product, environment: str) -> Path:
    return max((product.state / environment / "wipes").glob("*.jsonl"))


def test_the_ui_shows_a_plan_first_and_never_wipes_again(product: Product, ui: Ui) -> None:
    product.done("start", "redis")
    selector = {
        "repositoryLocationName": "development",
        "repositoryName": "__repository__",
        "pipelineName": "wipe_core",
    }
    first = ui.launch(selector)
    ui.wait_for(first, "FAILURE")
    assert "Nothing was deleted" in "\n".join(_failures(ui, first))
    assert product.containers()["redis"] == "running"

    document = product.done("wipe", "core", "--yes", "--json").document()
    run = document["runs"][0]["run_id"]
    product.done("start", "redis")
    container = product.one("redis").id
    again = ui.ask(
        """mutation ($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params)
             { __typename ... on LaunchRunSuccess { run { id } }
               ... on PythonError { message } } }""",
        params={"parentRunId": run, "strategy": "ALL_STEPS"},
    )["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess", again
    ui.wait_for(again["run"]["id"], "FAILURE")
    assert "can't be re-executed" in "\n".join(_failures(ui, again["run"]["id"]))
    assert product.one("redis").id == container
    product.done("wipe", "core", "--yes")


def test_schedules_and_sensors_of_the_code_server_rest_meanwhile(product: Product, ui: Ui) -> None:
    with product.variables():
        project = open_project(product.root)
    turn = wipe_turn(
        project,
        "development",
        holder="wipe_db (run 12345678)",
        cancel=threading.Event(),
        on_wait=lambda _: None,
    )
    asked, why = _ticks(ui)
    assert asked == {"schedule": 1, "sensor": 0}
    assert "is being wiped" not in why
    with turn:
        asked, why = _ticks(ui)
        assert asked == {"schedule": 0, "sensor": 0}
        assert why.count("the environment is being wiped: wipe_db (run 12345678)") == 2


def _ticks(ui: Ui) -> tuple[dict[str, int], str]:
    """Have the code server evaluate a schedule and a sensor; return requests, and why not."""
    place = {"repositoryName": "__repository__", "repositoryLocationName": "development"}
    schedule = ui.ask(
        """mutation ($s: ScheduleSelector!, $t: Float) { scheduleDryRun(
             selectorData: $s, timestamp: $t) { __typename ... on DryRunInstigationTick {
               evaluationResult { skipReason runRequests { runKey } error { message } } } } }""",
        s={**place, "scheduleName": "backup_full_schedule"},
        t=time.time(),
    )["scheduleDryRun"]
    sensor = ui.ask(
        """mutation ($s: SensorSelector!) { sensorDryRun(selectorData: $s, cursor: null) {
             __typename ... on DryRunInstigationTick {
               evaluationResult { skipReason runRequests { runKey } error { message } } } } }""",
        s={**place, "sensorName": "quota_pressure"},
    )["sensorDryRun"]
    results = {
        "schedule": schedule["evaluationResult"],
        "sensor": sensor["evaluationResult"],
    }
    assert not any(one["error"] for one in results.values()), results
    asked = {name: len(one["runRequests"] or ()) for name, one in results.items()}
    return asked, " / ".join(str(one["skipReason"]) for one in results.values())


def _failures(ui: Ui, run_id: str) -> list[str]:
    found = ui.ask(
        """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
             ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }""",
        id=run_id,
    )
    return [
        event["failureMetadata"]["description"]
        for event in found["logsForRun"]["events"]
        if event.get("failureMetadata")
    ]
