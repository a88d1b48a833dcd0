"""Check that there is an engine and that it is recent enough."""

from __future__ import annotations

from collections.abc import Iterator

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

# 20.10 is the oldest release still in a supported distribution; it speaks API 1.41.
_OLDEST_API = (1, 41)
_OLDEST_RELEASE = "20.10"


def check_engine(around: Surroundings) -> Iterator[Finding]:
    """Check that the engine answers and is recent enough."""
    error = around.engine_error
    if error is not None:
        yield Finding("engine", "fail", f"{error.what}: {error.why}", error.remedy)
        return
    release = str(around.info.get("ServerVersion", "unknown"))
    major, minor = around.connection.api_version
    detail = f"Docker {release}, API {major}.{minor}, at {around.connection.base_url}"
    if (major, minor) < _OLDEST_API:
        yield Finding("engine", "fail", detail, f"install Docker {_OLDEST_RELEASE} or later")
    else:
        yield Finding("engine", "ok", detail)
    for warning in around.info.get("Warnings") or []:
        yield Finding("engine", "warn", str(warning), "see the engine's documentation of it")
