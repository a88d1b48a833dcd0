"""`make test`: every part runs, and one summary and one exit status tell of all of them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST = """
import pytest

def test_bad():
    assert 1 == 2

@pytest.fixture
def broken_at_its_end():
    yield
    raise RuntimeError("left something")

def test_bad_at_its_end(broken_at_its_end):
    pass

@pytest.mark.parametrize("word", ["a.b", "[x]"])
def test_good(word):
    pass
"""
SECOND = """
import time

import pytest

class TestOf:
    def test_slow(self):
        time.sleep(0.5)

@pytest.mark.skip(reason="not here")
def test_skipped():
    pass
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, for a project of two suites."""
    spec = importlib.util.spec_from_file_location("whole_run", REPOSITORY / ".ci" / "test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["test.py"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name, text in (("first", FIRST), ("second", SECOND)):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / f"test_{name}.py").write_text(text)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return module


def chosen(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    def parts(which: str) -> list[object]:
        first, second = (
            module._pytest(name, "not soak", "-p", "no:cacheprovider", f"tests/{name}")
            for name in ("first", "second")
        )
        checks = [[sys.executable, "-c", f"raise SystemExit({int(fails)})"], ["true"]]
        lint = module.Part("lint", checks, is_pytest=False)
        return [lint, first, second] if fails else [lint, second]

    monkeypatch.setattr(module, "parts", parts)


def test_a_failure_does_not_keep_the_rest_from_running(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen(run, monkeypatch, fails=True)
    assert run.main() == 1
    lines = capfd.readouterr().out.splitlines()
    # One check of two, the test that fails, and the one whose end does.
    assert lines[-1] == "4 passed, 3 failed, 1 skipped"
    table = {words[0]: words[1:4] for line in lines if (words := line.split()) and len(words) == 5}
    assert table["lint"] == ["1", "1", "0"]
    assert table["first"] == ["2", "2", "0"]
    assert table["second"] == ["1", "0", "1"]
    failed = lines[lines.index("failed:") :]
    assert "  tests/first/test_first.py::test_bad" in failed
    assert "  tests/first/test_first.py::test_bad_at_its_end" in failed
    slowest = next(line for line in lines if "test_slow" in line and "::" in line)
    assert slowest.split()[-1] == "tests/second/test_second.py::TestOf::test_slow"
    assert any(re.fullmatch(r" +\d+  tests/second/ \(2 tests\)", line) for line in lines)


def test_what_passes_ends_with_0(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen(run, monkeypatch, fails=False)
    assert run.main() == 0
    assert capfd.readouterr().out.splitlines()[-1] == "3 passed, 0 failed, 1 skipped"


def test_a_part_that_ends_without_results_has_failed(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (run.ROOT / "tests" / "first" / "test_first.py").write_text("import os\nos._exit(3)\n")
    chosen(run, monkeypatch, fails=True)
    assert run.main() == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 2 failed, 1 skipped"
    assert "  first: status 3" in lines


def test_every_test_is_in_one_part_of_the_whole_run(run: ModuleType) -> None:
    """Marks choose: each combination of them belongs to exactly one part of the two runs."""
    words = ("integration", "fault", "e2e", "alone", "soak")
    parts = [part for which in ("all", "soak") for part in run.parts(which)]
    expressions = [
        command[command.index("-m", 2) + 1]
        for part in parts
        if part.is_pytest and part.name != "random"
        for command in part.commands
    ]
    for number in range(2 ** len(words)):
        marks = {word: bool(number >> place & 1) for place, word in enumerate(words)}
        if marks["alone"] and not (marks["integration"] or marks["fault"] or marks["e2e"]):
            continue
        taken = [one for one in expressions if eval(one, {}, marks)]
        assert len(taken) == 1, (marks, taken)
