"""Restores in place: confirmed, with a safety backup, and back as it was when they fail."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from mmstack_ops.domain.backups.backup_plan import RestorePlan
from mmstack_ops.domain.backups.events import RestoreDone
from mmstack_ops.domain.errors import (
    BackupError,
    CancelledError,
    EngineError,
    InputError,
    PartialRestoreError,
    PlanStaleError,
    RestoreError,
    UntouchedError,
)
from mmstack_ops.operations.backups.interrupted_restores import (
    STOPPED,
    replacing_key,
    report_interrupted,
)
from mmstack_ops.operations.backups.restore import restore
from mmstack_ops.operations.backups.restore_in_place import UndefinedStateError
from tests.operations.backups.restoring_world import NOW, Small, fails


@pytest.fixture
def small(tmp_path: Path) -> Small:
    names = {"db", "cache", "app", "web"}
    return Small(
        tmp_path,
        contents={"db": "today", "cache": "warm", "app": "a", "web": "w"},
        running=set(names),
        containers=set(names),
        dependencies={"db": [], "cache": [], "app": ["db"], "web": ["app", "cache"]},
    )


def run(
    small: Small,
    plan: RestorePlan,
    *,
    confirmation: str | None = None,
    late: float = 1.0,
    cancel: threading.Event | None = None,
) -> tuple[RestoreDone, ...]:
    return restore(
        plan,
        small.means,
        confirmation=plan.confirmation if confirmation is None else confirmation,
        cancel=cancel or threading.Event(),
        now=lambda: NOW + timedelta(seconds=late),
    )


def test_a_restore_replaces_what_is_there_after_a_safety_backup(small: Small) -> None:
    ref = small.add("db", "yesterday")
    done = run(small, small.plan(ref, stops=("app",)))
    assert small.contents["db"] == "yesterday"
    assert done[0].ref == ref
    assert done[0].safety_backup is not None
    assert small.stored[done[0].safety_backup] == "today"
    assert small.log == [
        "stop app",
        "back up db: today",
        "restore db: yesterday",
        "start db",
        "start app",
    ]
    assert done[0] in small.events
    assert small.running == {"db", "cache", "app", "web"}
    assert not small.lock_held


@pytest.mark.parametrize("typed", ["", "db", "production/db", "test/db "])
def test_a_wrong_confirmation_refuses_before_anything_is_touched(small: Small, typed: str) -> None:
    with pytest.raises(InputError, match="isn't confirmed"):
        run(small, small.plan(small.add("db", "yesterday")), confirmation=typed)
    assert small.log == []
    assert small.contents["db"] == "today"


@pytest.mark.parametrize("late", [901.0, -901.0])
def test_a_plan_is_refused_when_it_is_old_or_the_clock_jumped(small: Small, late: float) -> None:
    with pytest.raises(PlanStaleError, match="too old"):
        run(small, small.plan(small.add("db", "yesterday")), late=late)
    assert small.log == []


def test_a_plan_of_another_engine_is_refused(small: Small) -> None:
    with pytest.raises(PlanStaleError, match="another Docker engine"):
        run(small, small.plan(small.add("db", "yesterday"), daemon_id="other"))
    assert small.log == []


def test_a_failed_restore_is_rolled_back_and_says_so(small: Small) -> None:
    small.on_restore = fails(when="yesterday")
    with pytest.raises(RestoreError, match="it broke") as failed:
        run(small, small.plan(small.add("db", "yesterday"), stops=("app",)))
    assert not isinstance(failed.value, UndefinedStateError)
    assert "holds again what it held before" in failed.value.why
    assert small.contents["db"] == "today"
    assert "app" in small.running
    # What was there comes back, whatever a type would refuse of it.
    assert small.accepting == [False, True]
    assert list(report_interrupted(small.means.bench(threading.Event()))) == []


def test_a_restored_copy_that_differs_is_rolled_back_unless_that_is_accepted(
    small: Small,
) -> None:
    ref = small.add("db", "yesterday")
    small.wrong_facts.add(ref)
    with pytest.raises(RestoreError, match="differs from what"):
        run(small, small.plan(ref))
    assert small.contents["db"] == "today"
    done = run(small, small.plan(ref, accept_differences=True))
    assert small.contents["db"] == "yesterday"
    assert done[0].comparison.total_differences == 1


def test_what_the_service_refuses_is_named_and_all_else_stays_restored(small: Small) -> None:
    ref = small.add("db", "yesterday")

    def refuse(service: str, text: str) -> None:
        small.contents[service] = "half of yesterday"
        if text == "yesterday":
            raise PartialRestoreError("one object", refused={"text": "XMinioInvalidObjectName"})

    small.on_restore = refuse
    (done,) = run(small, small.plan(ref))
    assert done.refused == {"text": "XMinioInvalidObjectName"}
    assert done.outcome == "partial"
    assert small.contents["db"] == "half of yesterday"
    assert "db doesn't take 'text' back: XMinioInvalidObjectName" in small.warnings


def test_a_rollback_that_fails_too_names_the_safety_backup_and_keeps_dependants_stopped(
    small: Small,
) -> None:
    def always(service: str, text: str) -> None:
        raise RestoreError("it broke")

    small.on_restore = always
    with pytest.raises(UndefinedStateError) as failed:
        run(small, small.plan(small.add("db", "yesterday"), stops=("app",)))
    safety = next(ref for ref, text in small.stored.items() if text == "today")
    assert str(safety) in failed.value.remedy
    assert "app" not in small.running
    for _ in range(2):
        (line,) = report_interrupted(small.means.bench(threading.Event()))
        assert str(safety) in line
    # Another service's restore says so too, and changes nothing about it.
    small.on_restore = lambda service, text: None
    run(small, small.plan(small.add("cache", "yesterday")))
    assert len(list(report_interrupted(small.means.bench(threading.Event())))) == 1
    run(small, small.plan(small.add("db", "the day before", age=2)))
    assert list(report_interrupted(small.means.bench(threading.Event()))) == []


def test_an_interruption_is_rolled_back_and_keeps_its_form(small: Small) -> None:
    small.on_restore = fails(KeyboardInterrupt, when="yesterday")  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run(small, small.plan(small.add("db", "yesterday"), stops=("app",)))
    assert small.contents["db"] == "today"
    assert "app" in small.running


def test_a_cancelled_restore_is_rolled_back(small: Small) -> None:
    small.on_restore = fails(CancelledError, when="yesterday")
    with pytest.raises(CancelledError) as cancelled:
        run(small, small.plan(small.add("db", "yesterday"), stops=("app",)))
    assert "holds again what it held before" in cancelled.value.why
    assert small.contents["db"] == "today"
    assert "app" in small.running


def test_without_a_safety_backup_nothing_is_touched_unless_the_plan_allows_it(
    small: Small,
) -> None:
    def never(service: str) -> None:
        raise BackupError("no room")

    small.on_back_up = never
    ref = small.add("db", "yesterday")
    with pytest.raises(RestoreError, match="no safety backup") as failed:
        run(small, small.plan(ref))
    assert "no room" in failed.value.why
    assert small.contents["db"] == "today"
    done = run(small, small.plan(ref, without_safety=True))
    assert done[0].safety_backup is None
    assert small.contents["db"] == "yesterday"
    assert any("no safety backup" in warning for warning in small.warnings)


def test_a_service_whose_volume_is_gone_is_made_anew_and_has_nothing_to_keep(
    small: Small,
) -> None:
    del small.contents["db"]
    small.containers.discard("db")
    small.running.discard("db")
    done = run(small, small.plan(small.add("db", "yesterday")))
    assert done[0].safety_backup is None
    assert small.log[0] == "begin db"
    assert small.contents["db"] == "yesterday"


def test_a_stopped_service_is_started_and_what_it_holds_is_kept(small: Small) -> None:
    small.running.discard("db")
    done = run(small, small.plan(small.add("db", "yesterday")))
    assert done[0].safety_backup is not None
    assert small.log[:2] == ["begin db", "back up db: today"]


def test_a_service_that_does_not_start_is_left_as_it_is(small: Small) -> None:
    small.running.discard("db")
    small.on_begin = fails(EngineError)
    with pytest.raises(RestoreError, match="doesn't start") as failed:
        run(small, small.plan(small.add("db", "yesterday")))
    assert "nothing it holds was changed" in failed.value.remedy
    assert small.contents["db"] == "today"


def test_files_are_restored_into_a_service_that_cannot_run_when_the_plan_allows_it(
    small: Small,
) -> None:
    small.needs_stop = True
    small.running.discard("db")
    small.on_begin = fails(EngineError)
    small.on_back_up = fails(BackupError)
    done = run(small, small.plan(small.add("db", "yesterday"), without_safety=True))
    assert done[0].safety_backup is None
    assert small.contents["db"] == "yesterday"
    assert "db" in small.running


def test_files_are_compared_before_their_service_changes_them(small: Small) -> None:
    small.needs_stop = True

    def write(service: str) -> None:
        small.contents[service] += ", and what it wrote when it started"

    small.on_start = write
    (done,) = run(small, small.plan(small.add("db", "yesterday")))
    assert done.comparison.equal
    assert small.contents["db"] == "yesterday, and what it wrote when it started"


def test_a_restore_that_changed_nothing_is_not_rolled_back(small: Small) -> None:
    small.needs_stop = True

    def refuse(service: str, text: str) -> None:
        small.contents[service] = "today"
        raise UntouchedError("a file is immutable", remedy="take the flag off")

    small.on_restore = refuse
    with pytest.raises(RestoreError, match="immutable") as failed:
        run(small, small.plan(small.add("db", "yesterday")))
    assert "db holds what it held before" in failed.value.why
    assert small.contents["db"] == "today"
    assert small.log == ["back up db: today", "stop db", "start db"]


def test_a_type_that_restores_files_gets_the_service_stopped(small: Small) -> None:
    small.needs_stop = True
    run(small, small.plan(small.add("db", "yesterday")))
    assert small.log == [
        "back up db: today",
        "stop db",
        "restore db: yesterday",
        "start db",
    ]


def test_an_artifact_that_cannot_be_opened_leaves_everything_alone(small: Small) -> None:
    ref = small.add("db", "yesterday")
    del small.stored[ref]
    with pytest.raises(RestoreError, match="can't be opened"):
        run(small, small.plan(ref))
    assert small.log == []


def test_what_depends_on_a_failed_one_is_not_begun_and_others_are(small: Small) -> None:
    refs = [small.add(name, f"old {name}") for name in ("db", "cache", "app")]
    small.on_restore = fails(when="old db")
    with pytest.raises(RestoreError, match="it broke") as failed:
        run(small, small.plan(*refs, stops=("web",)))
    assert small.contents == {"db": "today", "cache": "old cache", "app": "a", "web": "w"}
    assert "restored: cache" in failed.value.why
    assert "not begun: app" in failed.value.why
    assert [e.ref.service for e in small.events if isinstance(e, RestoreDone)] == ["cache"]
    assert "web" in small.running


def test_several_failures_are_all_told(small: Small) -> None:
    refs = [small.add(name, "old") for name in ("db", "cache")]
    small.on_restore = fails(when="old")
    with pytest.raises(RestoreError, match="2 services") as failed:
        run(small, small.plan(*refs))
    assert "db: " in failed.value.why
    assert "cache: " in failed.value.why


def test_a_cancel_between_two_services_begins_no_other(small: Small) -> None:
    cancel = threading.Event()
    refs = [small.add(name, f"old {name}") for name in ("db", "cache")]
    small.on_restore = lambda service, text: cancel.set()
    with pytest.raises(CancelledError):
        run(small, small.plan(*refs), cancel=cancel)
    assert small.contents["db"] == "old db"
    assert small.contents["cache"] == "warm"


def test_only_dependants_that_run_are_stopped_and_started(small: Small) -> None:
    small.running.discard("app")
    run(small, small.plan(small.add("db", "yesterday"), stops=("app", "web")))
    assert small.log[0] == "stop web"
    assert small.log[-1] == "start web"


def test_what_a_killed_restore_left_is_told_by_the_next(small: Small) -> None:
    bench = small.means.bench(threading.Event())
    with pytest.raises(ZeroDivisionError), bench.journal(STOPPED, {"stopped": "app, web"}):
        _ = 1 / 0
    with (
        pytest.raises(ZeroDivisionError),
        bench.journal(
            replacing_key("db"),
            {
                "service": "db",
                "backup": "test/db/full/x",
                "tier": "local",
                "safety": "test/db/full/y",
                "safety_tier": "local",
            },
        ),
    ):
        _ = 1 / 0
    run(small, small.plan(small.add("db", "yesterday")))
    assert any("app, web" in line for line in small.warnings)
    assert any("--backup test/db/full/y" in line for line in small.warnings)
    assert list(report_interrupted(bench)) == []
