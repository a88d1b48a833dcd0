"""Check that the environment's secrets are present."""

from __future__ import annotations

from collections.abc import Iterator

from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings


def check_secrets(around: Surroundings) -> Iterator[Finding]:
    """Check that every value that a start needs can be read."""
    try:
        values = load_values(around.project, around.catalogue)
    except MmstackError as error:
        why = f": {error.why}" if error.why else ""
        yield Finding("secrets", "fail", f"{error.what}{why}", error.remedy)
        return
    yield Finding("secrets", "ok", f"{len(values.secrets)} secrets present")
