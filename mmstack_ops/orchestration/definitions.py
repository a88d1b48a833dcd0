"""The module that workspace.yaml loads: one attribute for each environment of the schema.

An attribute is created on first access: each code location loads one environment, and builds
only that one.
"""

from __future__ import annotations

from functools import cache

import dagster as dg

from mmstack_ops.adapters.project import open_project
from mmstack_ops.orchestration.build import build_definitions


def __getattr__(name: str) -> dg.Definitions:
    # Dagster and importlib request many attributes; only environments are defined here.
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _definitions(name)


@cache
def _definitions(name: str) -> dg.Definitions:
    project = open_project()
    if name not in project.load_schema().environments:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return build_definitions(name, overrides={"project": project})
