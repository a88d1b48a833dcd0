"""Plan which images are pulled or built, and what changes for their containers."""

from __future__ import annotations

from dataclasses import replace

from mmstack_ops.domain.errors import ImageUnavailableError
from mmstack_ops.domain.stacks.diff import FieldChange
from mmstack_ops.domain.stacks.observed import ObservedState
from mmstack_ops.domain.stacks.spec import ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action


def image_action(
    service: ServiceSpec, actions: list[Action], observed: ObservedState, *, rebuild: bool
) -> Action | None:
    """Return the action that pulls or builds the service's image; None if there is no need.

    A missing image is pulled or built only if a container must be created from it: running
    containers don't need it.
    """
    image = service.image
    present = image.reference in observed.images
    needed = any(action.kind in ("create", "recreate") for action in actions)
    if image.build_context is not None:
        again, reason = rebuild, "it is built anew" if present else "a build context is set"
    else:
        again = image.pull == "always" or (rebuild and image.pull != "never")
        reason = "a fresh copy is asked for" if present else "it isn't on this engine"
    if not again and (present or not needed):
        return None
    if not present and image.build_context is None and image.pull == "never":
        raise ImageUnavailableError(
            f"image {image.reference} of {service.name} isn't on this engine",
            why="its pull policy is 'never'",
            remedy=f"load it (`docker load`), or set {image.variable} to an image you have",
        )
    return Action(
        kind="build" if image.build_context is not None else "pull",
        target=image.reference,
        stack=service.stack,
        service=service.name,
        reason=reason,
        image=image,
    )


def with_fresh_image(action: Action) -> Action:
    """Return an action that recreates the container, unless it already runs the fresh image."""
    if action.kind not in ("keep", "start", "restart") or action.container is None:
        return action
    change = FieldChange("image id", action.container.image_id[:19], "(fresh)")
    return replace(
        action,
        kind="recreate",
        reason="its image is got anew",
        changes=(change,),
        if_same_image=action,
    )
