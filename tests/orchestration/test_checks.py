"""Health and drift checks, and how a stop on request differs from a crash."""

from __future__ import annotations

import dagster as dg

from tests.orchestration.fakes import FakeControl, Run


def _checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    return {
        (check.asset_key.path[-1], check.check_name): check
        for check in result.get_asset_check_evaluations()
    }


def test_a_start_is_followed_by_its_checks(run: Run) -> None:
    checks = _checks(run("start_core"))
    assert set(checks) == {
        (service, name) for service in ("postgres", "redis") for name in ("healthy", "drift")
    }
    assert all(check.passed for check in checks.values())


def test_unhealthy_is_an_error_with_the_probe_output(run: Run, control: FakeControl) -> None:
    run("start_core")
    control.conditions = {"postgres": "unhealthy"}
    check = _checks(run("check_health"))["postgres", "healthy"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["health_probe"].value == "    connection refused"


def test_a_crash_is_an_error(run: Run, control: FakeControl) -> None:
    run("start_core")
    control.conditions = {"postgres": "stopped"}
    control.drift = {"postgres": ("postgres-1 has stopped (exit code 137)",)}
    checks = _checks(run("check_health"))
    assert checks["postgres", "healthy"].severity == dg.AssetCheckSeverity.ERROR
    assert "no run stopped it" in str(checks["postgres", "healthy"].description)
    assert not checks["postgres", "drift"].passed


def test_a_stop_on_request_is_no_crash_and_no_drift(run: Run, control: FakeControl) -> None:
    run("start_core")
    stop = run("stop_core")
    control.drift = {"postgres": ("postgres-1 is missing",)}
    checks = _checks(run("check_health"))
    health = checks["postgres", "healthy"]
    assert not health.passed
    assert health.severity == dg.AssetCheckSeverity.WARN
    assert "stopped on request" in str(health.description)
    assert stop.run_id[:8] in str(health.description)
    assert checks["postgres", "drift"].passed


def test_a_crash_after_a_stop_and_a_new_start_is_a_crash(run: Run, control: FakeControl) -> None:
    for job in ("start_core", "stop_core", "start_core"):
        run(job)
    control.conditions = {"postgres": "stopped"}
    check = _checks(run("check_health"))["postgres", "healthy"]
    assert check.severity == dg.AssetCheckSeverity.ERROR


def test_what_nobody_wants_here_is_fine_when_absent(run: Run) -> None:
    checks = _checks(run("check_health"))
    assert checks["report", "healthy"].passed
    assert not checks["postgres", "healthy"].passed
    assert "never started, or removed by hand" in str(checks["postgres", "healthy"].description)


def test_a_service_that_runs_once_may_end(run: Run, control: FakeControl) -> None:
    control.conditions = {"report": "stopped"}
    assert _checks(run("check_health"))["report", "healthy"].passed
    control.drift = {"report": ("report-1 has stopped (exit code 2)",)}
    assert not _checks(run("check_health"))["report", "healthy"].passed


def test_drift_is_a_warning_with_a_list(run: Run, control: FakeControl) -> None:
    run("start_core")
    control.drift = {"redis": ("redis-1 runs another image", "redis-1 memory_limit: 0 → 1")}
    check = _checks(run("check_health"))["redis", "drift"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["drift"].value == (
        "- redis-1 runs another image\n- redis-1 memory_limit: 0 → 1"
    )


def test_failing_checks_do_not_fail_the_run(run: Run) -> None:
    assert run("check_health").success
