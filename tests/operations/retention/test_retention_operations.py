"""Nothing goes before its backup was taken, read whole and found good."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmstack_ops.adapters.project import open_project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.errors import BackupError, MmstackError, RetentionError
from mmstack_ops.domain.retention.live import Found, RulePlan, plan_rule
from mmstack_ops.operations.retention.retention_operations import LiveRetention
from tests.adapters.config_project import make_project
from tests.adapters.stores.retention_sites import with_volume
from tests.orchestration.backups.fake import FakeBackups


class ReachedError(Exception):
    """The clean-up went as far as the service."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LiveRetention, FakeBackups]:
    project = make_project(tmp_path, monkeypatch)
    backups = FakeBackups(project.catalogue("production"))
    retention = LiveRetention(project, "production", backups)

    def reached(*_: Any) -> Any:
        raise ReachedError

    monkeypatch.setattr(retention, "_turn", reached)
    return retention, backups


def plans(retention: LiveRetention, *, expired: int, service: str = "postgres") -> list[RulePlan]:
    now = retention.now()
    found = Found("rows", 100, expired)
    return [
        plan_rule(retention.catalogue, service, rule, found, made_at=now, now=now)
        for rule in retention.catalogue.services[service].definition.retention
    ]


def clean(retention: LiveRetention, planned: list[RulePlan]) -> None:
    retention.clean(
        planned,
        made_at=retention.now(),
        holder="test",
        cancel=threading.Event(),
        on_event=lambda _: None,
    )


def test_the_service_is_touched_after_a_good_backup(
    world: tuple[LiveRetention, FakeBackups],
) -> None:
    retention, backups = world
    with pytest.raises(ReachedError):
        clean(retention, plans(retention, expired=10))
    assert [call.split()[0] for call in backups.calls] == ["back_up", "verify"]
    assert "postgres/full" in backups.calls[0]


def test_a_backup_that_is_not_good_stops_everything(
    world: tuple[LiveRetention, FakeBackups], monkeypatch: pytest.MonkeyPatch
) -> None:
    retention, backups = world
    verify = backups.verify

    def corrupt(ref: Any, **how: Any) -> VerifyResult:
        backups.corrupt.add((ref.id, how["tier"]))
        return verify(ref, **how)

    monkeypatch.setattr(backups, "verify", corrupt)
    with pytest.raises(BackupError, match="nothing of postgres was deleted") as raised:
        clean(retention, plans(retention, expired=10))
    assert "SHA-256 differs" in raised.value.why


def test_a_backup_that_fails_stops_everything(
    world: tuple[LiveRetention, FakeBackups], monkeypatch: pytest.MonkeyPatch
) -> None:
    retention, backups = world

    def refuse(*_: Any, **__: Any) -> Any:
        raise BackupError("pg_dump was killed")

    monkeypatch.setattr(backups, "back_up", refuse)
    with pytest.raises(MmstackError, match="pg_dump was killed"):
        clean(retention, plans(retention, expired=10))


def test_nothing_is_backed_up_where_nothing_goes_or_nobody_asked(
    world: tuple[LiveRetention, FakeBackups],
) -> None:
    retention, backups = world
    with pytest.raises(ReachedError):
        clean(retention, plans(retention, expired=0))
    with pytest.raises(ReachedError):
        clean(retention, plans(retention, expired=10, service="prometheus"))
    assert backups.calls == []


def test_a_rule_that_fails_half_way_says_what_went_and_keeps_no_other_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project", monkeypatch)
    retention = LiveRetention(project, "testing", FakeBackups(project.catalogue("testing")))
    volume = tmp_path / "volume"
    volume.mkdir()
    for name in ("1.json", "2.json", "a.png", "b.mp4"):
        (volume / name).write_text("x")
        os.utime(volume / name, (0, 0))
    instance, folders = with_volume(volume, at="/app/allure-results")
    place = SimpleNamespace(find=lambda _: instance, bench=lambda _: folders)

    @contextmanager
    def placed(*_: Any) -> Any:
        yield place

    monkeypatch.setattr(retention, "_turn", lambda *_: nullcontext())
    monkeypatch.setattr(retention, "_place", placed)
    unlink = os.unlink

    def failing(name: Any, **how: Any) -> None:
        if name == "2.json":
            raise OSError(5, "Input/output error", name)
        unlink(name, **how)

    monkeypatch.setattr(os, "unlink", failing)
    now = retention.now()
    planned = [
        replace(
            plan_rule(
                retention.catalogue,
                "allure-results",
                rule,
                Found("files", 100, 1),
                made_at=now,
                now=now,
            ),
            backup_first=False,
        )
        for rule in retention.catalogue.services["allure-results"].definition.retention
    ]
    with pytest.raises(RetentionError, match="1 of 3 rules of allure-results") as raised:
        retention.clean(
            planned,
            made_at=now,
            accept_many=True,
            holder="test",
            cancel=threading.Event(),
            on_event=lambda _: None,
        )
    assert "1 files of worker went, then one couldn't be deleted" in raised.value.why
    assert "2.json: Input/output error" in raised.value.why
    assert raised.value.remedy.startswith("deleted by the other rules: 1 files, 1 files;")
    assert [one.name for one in volume.iterdir()] == ["2.json"]


def unreachable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> LiveRetention:
    """The retention of a project with secrets and without an engine."""
    project = make_project(folder, monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/no.sock")
    project = open_project(project.root)
    generate(project, project.catalogue("production"))
    return LiveRetention(project, "production", FakeBackups(project.catalogue("production")))


def test_an_engine_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = unreachable(tmp_path, monkeypatch).plan()
    assert plan.rules == ()
    assert plan.to_do
    assert "no.sock" in plan.down


def test_a_service_without_an_image_keeps_nothing_of_the_others_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = unreachable(tmp_path, monkeypatch).plan({"multimodal-worker"})
    assert plan.down == ""
    assert "has no image" in plan.skipped["multimodal-worker"]
