"""Check whether the images are present or a start has to get them."""

from __future__ import annotations

from collections.abc import Iterator

from mmstack_ops.adapters.environment.values import load_values
from mmstack_ops.domain.errors import ImageUnavailableError, MmstackError
from mmstack_ops.domain.stacks.desired import image_source
from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.surroundings import Surroundings

_NAME = "images"


def check_images(around: Surroundings) -> Iterator[Finding]:
    """Check the images of the services that a start of the environment starts."""
    if around.engine_error is not None:
        yield Finding(_NAME, "not checked", "the engine doesn't answer")
        return
    try:
        variables = load_values(around.project, around.catalogue).variables
        overrides = around.project.image_overrides()
    except MmstackError as error:
        yield Finding(_NAME, "not checked", error.what, error.remedy)
        return
    present, absent = 0, []
    for name in around.catalogue.started:
        entry = around.catalogue.services[name]
        try:
            source = image_source(entry, variables, overrides, str(around.project.root))
        except ImageUnavailableError as error:
            yield Finding(_NAME, "fail", error.what, error.remedy)
            continue
        if around.reader.image(source.reference) is not None:
            present += 1
        else:
            absent.append(source.reference)
    if absent:
        yield Finding(
            _NAME,
            "warn",
            f"not on this engine yet: {', '.join(sorted(set(absent)))}",
            "a start pulls or builds them; it takes longer",
        )
    elif present:
        yield Finding(_NAME, "ok", f"images of {present} services are on this engine")
