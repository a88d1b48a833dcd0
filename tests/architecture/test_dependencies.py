"""What is imported is declared, and what is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.architecture.test_layers import PACKAGE, REPOSITORY

# Started as `python -m dagster_webserver`.
STARTED = {"dagster-webserver"}


def normal(name: str) -> str:
    """Return a distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield str(node.module)


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = {
        normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in project["dependencies"]
    }
    ours = {name.partition(".")[0] for name in imported()} - sys.stdlib_module_names
    distributions = packages_distributions()
    used = {normal(distributions[name][0]) for name in ours - {"mmstack_ops"}}
    assert used | STARTED == declared
