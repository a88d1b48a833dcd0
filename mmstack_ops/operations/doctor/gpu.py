"""Check that there is a GPU for the services that can use one."""

from __future__ import annotations

from collections.abc import Iterator

from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings


def check_gpu(around: Surroundings) -> Iterator[Finding]:
    """Check the engine's nvidia runtime if the environment has services that can use it."""
    catalogue = around.catalogue
    wanting = [n for n in catalogue.started if catalogue.services[n].definition.gpu is not None]
    if not wanting:
        yield Finding("gpu", "ok", f"nothing in {catalogue.environment} uses one")
    elif around.engine_error is not None:
        yield Finding("gpu", "not checked", "the engine doesn't answer")
    elif "nvidia" in (around.info.get("Runtimes") or {}):
        yield Finding("gpu", "ok", f"nvidia runtime present for {', '.join(wanting)}")
    else:
        yield Finding(
            "gpu",
            "warn",
            f"{', '.join(wanting)} can use a GPU, and the engine has no nvidia runtime",
            "install the NVIDIA Container Toolkit, or start without --gpu",
        )
