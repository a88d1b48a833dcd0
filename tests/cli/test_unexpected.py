"""What nobody expected is told with the places to report, and without any value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import UnexpectedError
from mmstack_ops.operations.stacks.stack_operations import StackOperations
from tests.cli.conftest import Mmstack

REPOSITORY = Path(__file__).parents[2]
SECRET = "s3cr3t-in-the-text"


def _fail(password: str) -> None:
    raise ValueError(f"postgresql://admin:{password}@db")


def _broken(*_: object, **__: object) -> None:
    try:
        _fail(SECRET)
    except ValueError as error:
        raise KeyError(SECRET) from error


@pytest.fixture(autouse=True)
def broken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control whose every look ends in an exception that is a bug."""
    home = project.root / "dagster_home"
    home.mkdir()
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", home)
    for name in ("status", "plan_up", "plan_down"):
        monkeypatch.setattr(StackOperations, name, _broken)


def test_a_verb_of_this_process_shows_the_places(mmstack: Mmstack) -> None:
    finished = mmstack("status")
    assert finished.exit_code == 1
    assert finished.stdout == ""
    lines = finished.stderr.splitlines()
    assert "mmstack failed with KeyError. This is a bug in mmstack-ops" in lines[0]
    assert any("test_unexpected.py:" in line and "in _broken" in line for line in lines[1:])
    assert any("test_unexpected.py:" in line and "in _fail" in line for line in lines[1:])
    assert "  after ValueError:" in lines
    assert SECRET not in finished.stderr
    assert "Traceback" not in finished.stderr


def test_json_has_the_places_too(mmstack: Mmstack) -> None:
    finished = mmstack("status", "--json")
    error = json.loads(finished.stderr)["error"]
    assert finished.exit_code == error["exit_code"] == 1
    assert any("in _broken" in place for place in error["places"])
    assert SECRET not in finished.stderr


def test_a_run_shows_the_places(mmstack: Mmstack) -> None:
    finished = mmstack("stop", "core")
    assert finished.exit_code == 1
    assert "with the places below" in finished.stderr
    assert "in _broken" in finished.stderr
    assert SECRET not in finished.stderr + finished.stdout


def test_a_run_shows_the_places_in_json(mmstack: Mmstack) -> None:
    finished = mmstack("stop", "core", "--json")
    assert finished.exit_code == 1
    assert "in _broken" in finished.document["error"]
    assert SECRET not in finished.stderr + finished.stdout


def test_what_dagster_caught_itself_shows_the_places(
    mmstack: Mmstack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an exception is raised outside of what our steps guard."""
    from mmstack_ops.orchestration.stacks import stack_ops

    monkeypatch.setattr(stack_ops, "_apply", _broken)
    finished = mmstack("stop", "core", "--json")
    assert finished.exit_code == 1
    assert "in _fail" in finished.document["error"] or "in _broken" in finished.document["error"]
    assert "This is a bug" in finished.document["error"]
    assert SECRET not in finished.stderr + finished.stdout


def test_endless_recursion_stays_readable() -> None:
    def deeper() -> None:
        deeper()

    with pytest.raises(RecursionError) as caught:
        deeper()
    error = UnexpectedError.of("this", caught.value)
    assert len(error.places) < 50
    assert any("more)" in place for place in error.places)
