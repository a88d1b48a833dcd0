"""Private names of the libraries stand where they are explained and tested, or nowhere."""

from __future__ import annotations

import ast

from tests.architecture.test_layers import PACKAGE

DAGSTER = PACKAGE / "orchestration" / "_dagster_compat.py"
ENGINE = PACKAGE / "adapters" / "engine"


def test_private_modules_of_dagster_are_named_in_one_module() -> None:
    found = [path for path in PACKAGE.rglob("*.py") if "dagster._" in path.read_text()]
    assert found == [DAGSTER]


def test_no_private_attribute_of_docker_py_is_used() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}"
        for path in ENGINE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and ast.unparse(node.value) not in ("self", "cls")
    ]
    assert not found
