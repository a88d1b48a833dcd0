"""The verb `restore`: its plan, what is typed to confirm it, what it made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.cli.conftest import Mmstack
from tests.cli.faked_backups import FULL, Runs
from tests.orchestration.backups.fake import FakeBackups


def test_a_restore_prints_its_plan_and_touches_nothing(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    finished = mmstack("restore", "postgres", "--plan")
    assert finished.exit_code == 0
    for text in (str(ref), "postgres_data", "meanwhile stopped: litellm", "wasn't proven"):
        assert text in finished.stdout
    document = mmstack("restore", "postgres", "--plan", "--json").document
    assert document["confirmation"] == "production/postgres"
    assert len(document["digest"]) == 16
    assert runs.calls == []


def test_a_backup_of_another_service_is_refused(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    finished = mmstack("restore", "redis", "--backup", ref.id, "--plan")
    assert finished.exit_code == 2
    assert f"{ref} is no backup of redis" in finished.stderr
    assert mmstack("restore", "core", "--backup", ref.id, "--plan").exit_code == 0
    assert runs.calls == []


def test_a_restore_needs_its_typed_confirmation(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    backups.take(FULL)
    finished = mmstack("restore", "postgres")
    assert finished.exit_code == 2
    assert "--confirm production/postgres" in finished.stderr
    finished = mmstack("restore", "postgres", "--confirm", "yes")
    assert finished.exit_code == 2
    assert "'yes' was typed" in finished.stderr
    assert runs.calls == []


def test_a_confirmed_restore_carries_the_digest_of_its_plan(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    old = backups.take(FULL)
    backups.take(FULL)
    at = old.created + timedelta(seconds=30)
    finished = mmstack(
        *("restore", "postgres", "--at", at.isoformat()), "--confirm", "production/postgres"
    )
    assert finished.exit_code == 0
    (call,) = runs.calls
    assert call["job"] == "restore"
    assert call["run_config"]["ops"]["restore_services"]["config"] == {
        "targets": ["postgres"],
        "plan": backups.plan_restore(["postgres"], at=at).stamp.digest,
        "at": at.isoformat(),
        "confirmation": "production/postgres",
    }


def test_the_confirmation_is_asked_for_on_a_terminal(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.take(FULL)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked: list[str] = []

    def answering(text: str) -> Callable[..., str]:
        def prompt(question: str, **_: object) -> str:
            asked.append(question)
            return text

        return prompt

    monkeypatch.setattr("typer.prompt", answering("production/redis"))
    assert mmstack("restore", "postgres").exit_code == 2
    assert runs.calls == []
    monkeypatch.setattr("typer.prompt", answering("production/postgres"))
    finished = mmstack("restore", "postgres")
    assert finished.exit_code == 0
    assert "postgres_data" in finished.stdout
    assert asked[0] == "Type production/postgres to replace this"


def test_a_restore_into_scratch_asks_for_nothing(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    ref = backups.take(FULL)
    assert mmstack("restore", "--backup", ref.id, "--into-scratch").exit_code == 0
    (call,) = runs.calls
    assert call["job"] == "restore_into_scratch"
    config = call["run_config"]["ops"]["restore_services_into_scratch"]["config"]
    assert config["targets"] == ["postgres"]
    assert config["backup"] == str(ref)
    assert "confirmation" not in config


def test_dangerous_wishes_are_part_of_what_is_confirmed(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    backups.take(FULL)
    wishes = ("--without-safety", "--accept-differences")
    confirmed = ("restore", "postgres", "--confirm", "production/postgres")
    for options in ((), wishes):
        assert mmstack(*confirmed, *options).exit_code == 0
    plain, wished = (call["run_config"]["ops"]["restore_services"]["config"] for call in runs.calls)
    assert (wished["without_safety"], wished["accept_differences"]) == (True, True)
    assert plain["plan"] != wished["plan"]
    assert "without_safety" not in plain


def test_a_restored_copy_says_how_to_reach_and_remove_it(
    mmstack: Mmstack, runs: Runs, backups: FakeBackups
) -> None:
    backups.take(FULL)
    plan = backups.plan_restore(["postgres"], mode="scratch")
    runs.events = list(
        backups.restore(
            plan,
            confirmation="",
            holder="test",
            cancel=threading.Event(),
            on_event=lambda _: None,
        )
    )
    shown = mmstack("restore", "postgres", "--into-scratch").stdout
    assert "scratch-postgres: docker exec scratch" in shown
    assert "away with it: docker rm scratch-postgres" in shown
