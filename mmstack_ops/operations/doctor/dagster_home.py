"""Check that Dagster's instance is usable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings


def check_dagster_home(around: Surroundings) -> Iterator[Finding]:
    """Check Dagster's folder, its configuration, and that the shell uses the same folder."""
    name = "dagster home"
    home = around.project.root / "dagster_home"
    configuration = home / "dagster.yaml"
    if not configuration.is_file():
        yield Finding(name, "fail", f"{configuration} doesn't exist", "take it from the repository")
    elif not os.access(home, os.W_OK | os.X_OK):
        yield Finding(name, "fail", f"{home} may not be written", "run as its owner")
    else:
        yield Finding(name, "ok", str(home))
    other = os.environ.get("DAGSTER_HOME")
    if other and Path(other).resolve() != home.resolve():
        yield Finding(
            name,
            "warn",
            f"DAGSTER_HOME is {other}, mmstack uses {home}",
            "unset it, or `dagster` commands typed here show another history",
        )
