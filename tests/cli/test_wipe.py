"""The verb `wipe`: its plan, what is typed, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.cli.session import Session
from mmstack_ops.domain.wipe.wipe_plan import WipeResult
from tests.cli.conftest import Mmstack
from tests.cli.faked_backups import Runs
from tests.orchestration.fake_wipe import ITEMS, FakeWipes


@pytest.fixture
def wipes(project: Project, monkeypatch: pytest.MonkeyPatch) -> FakeWipes:
    fake = FakeWipes(project.catalogue("production"))
    monkeypatch.setattr(Session, "wipes", property(lambda _: fake))
    monkeypatch.setenv("MMSTACK_ENVIRONMENT", "production")
    return fake


def config(runs: Runs, scope: str = "core") -> dict[str, Any]:
    (call,) = runs.calls
    assert call["job"] == f"wipe_{scope}"
    found: dict[str, Any] = call["run_config"]["ops"][f"remove_{scope}"]["config"]
    return found


def test_the_plan_shows_ids_sizes_and_losses_and_runs_nothing(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes
) -> None:
    shown = mmstack("wipe", "core", "--plan")
    assert shown.exit_code == 0
    for text in ("c1", "redis_data", "m1", "4.0 KiB", "no backup is known", "backups, secrets"):
        assert text in shown.stdout
    document = mmstack("wipe", "core", "--plan", "--json").document
    assert document["confirmation"] == "production/core"
    assert document["items"][1]["id"] == "redis_data@m1"
    assert document["digest"] == wipes.plan("core").stamp.digest
    assert runs.calls == []


def test_without_a_terminal_it_must_be_confirmed_in_words(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes
) -> None:
    ended = mmstack("wipe", "core")
    assert ended.exit_code == 2
    assert "--confirm production/core" in ended.stderr
    ended = mmstack("wipe", "core", "--confirm", "core")
    assert ended.exit_code == 2
    assert "'core' was typed" in ended.stderr
    assert runs.calls == []


def test_the_digest_and_the_words_go_with_the_run(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes
) -> None:
    runs.events = [WipeResult("production", "core", ITEMS, {})]
    ended = mmstack("wipe", "core", "--confirm", "production/core")
    assert ended.exit_code == 0
    found = config(runs)
    assert found["plan"] == wipes.plan("core").stamp.digest
    assert found["confirm"] == "production/core"
    assert found["without_proven_backup"] is False
    assert found["start"] is True
    for one in ITEMS:
        assert one.name in ended.stdout


def test_yes_is_enough_only_where_nothing_is_protected(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes
) -> None:
    wipes.guarded = True
    ended = mmstack("wipe", "core", "--yes")
    assert ended.exit_code == 2
    assert "is protected: --yes isn't enough" in ended.stderr
    assert runs.calls == []
    wipes.guarded = False
    assert mmstack("wipe", "core", "--yes").exit_code == 0
    assert config(runs)["confirm"] == "production/core"


def test_the_guard_speaks_before_anybody_types(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: pytest.fail("asked"))
    wipes.guarded, wipes.refusals = True, ("redis: no backup",)
    ended = mmstack("wipe", "core")
    assert ended.exit_code == 2
    assert "redis: no backup" in ended.stderr
    confirmed = ("wipe", "core", "--confirm", "production/core")
    assert mmstack(*confirmed, "--without-proven-backup").exit_code == 0
    assert config(runs)["without_proven_backup"] is True


def test_it_is_asked_for_on_a_terminal_after_the_plan(
    mmstack: Mmstack, runs: Runs, wipes: FakeWipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    typed = iter(["production/cache", "production/core"])
    asked: list[str] = []

    def prompt(question: str, **_: object) -> str:
        asked.append(question)
        return next(typed)

    monkeypatch.setattr("typer.prompt", prompt)
    assert mmstack("wipe", "core").exit_code == 2
    assert runs.calls == []
    ended = mmstack("wipe", "core")
    assert ended.exit_code == 0
    assert "redis_data" in ended.stdout
    assert asked[0] == "Type production/core to delete this"


def test_nothing_there_is_no_run(mmstack: Mmstack, runs: Runs, wipes: FakeWipes) -> None:
    wipes.items = ()
    ended = mmstack("wipe", "core")
    assert ended.exit_code == 0
    assert "nothing of production/core" in ended.stdout
    assert mmstack("wipe", "core", "--json").document["success"] is True
    assert runs.calls == []


def test_a_scope_that_is_none_is_refused_with_the_list(mmstack: Mmstack, wipes: FakeWipes) -> None:
    for word in ("cor", "production", "postgres"):
        ended = mmstack("wipe", word)
        assert ended.exit_code == 2
        assert "test-results, environment" in ended.stderr
    assert "did you mean 'core'?" in mmstack("wipe", "cor").stderr


def test_no_start_is_part_of_the_plan(mmstack: Mmstack, runs: Runs, wipes: FakeWipes) -> None:
    wipes.starts = ("redis",)
    assert mmstack("wipe", "cache", "--no-start", "--yes").exit_code == 0
    found = config(runs, "cache")
    assert found["start"] is False
    assert found["plan"] == wipes.plan("cache", start=False).stamp.digest
