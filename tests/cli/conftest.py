"""`mmstack` in this process, on a project of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.cli.main import main
from mmstack_ops.cli.session import Session
from tests.adapters.config_project import make_project
from tests.cli.faked_backups import Runs
from tests.orchestration.backups.fake import FakeBackups
from tests.orchestration.fake_retention import FakeLive

NO_ENGINE = "unix:///nonexistent/docker.sock"


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


Mmstack = Callable[..., Finished]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The shipped schema in a folder of its own; an engine's address where none answers."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = make_project(folder, monkeypatch)
    for variable in ("MMSTACK_ENVIRONMENT", "DAGSTER_HOME", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.setenv("MMSTACK_PROJECT", str(made.root))
    return made


@pytest.fixture
def mmstack(project: Project, capsys: pytest.CaptureFixture[str]) -> Mmstack:
    """Run `mmstack` with the given arguments and return how it ended."""

    def run(*arguments: str) -> Finished:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Finished(code, out, err)

    return run


@pytest.fixture
def backups(project: Project, monkeypatch: pytest.MonkeyPatch) -> FakeBackups:
    """The backups of production, whatever environment is asked for."""
    fake = FakeBackups(project.catalogue("production"))
    monkeypatch.setattr(Session, "backups", property(lambda _: fake))
    monkeypatch.setenv("MMSTACK_ENVIRONMENT", "production")
    return fake


@pytest.fixture(autouse=True)
def live(project: Project, monkeypatch: pytest.MonkeyPatch) -> FakeLive:
    """The retention of production's live data, whatever environment is asked for."""
    fake = FakeLive(project.catalogue("production"))
    monkeypatch.setattr(Session, "live_retention", property(lambda _: fake))
    return fake


@pytest.fixture
def runs(backups: FakeBackups, monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr("mmstack_ops.orchestration.inline_run.run_job", made)
    return made
