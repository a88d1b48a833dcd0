"""The rules of the layers hold, and files stay small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "mmstack_ops"
MOST_LINES = 400


def test_import_contracts() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("folder", ["mmstack_ops", "tests", "bench", "lab"])
def test_no_file_is_long(folder: str) -> None:
    # Tests and the lab may be somewhat longer: they read from top to bottom.
    most = MOST_LINES if folder == "mmstack_ops" else MOST_LINES * 1.5
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in (REPOSITORY / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > most
    }
    assert not long


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert not [path for path in PACKAGE.rglob("*.py") if path.name in vague]


def test_every_package_and_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(REPOSITORY))
        for path in PACKAGE.rglob("*.py")
        if not path.read_text().startswith(('"""', "# "))
    ]
    assert not silent
