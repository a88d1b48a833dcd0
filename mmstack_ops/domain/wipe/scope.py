"""The scope of a wipe: a stack, a kind of data, or the whole environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import UnknownNameError
from mmstack_ops.domain.schema.root import WIPED_KINDS
from mmstack_ops.domain.suggest import did_you_mean

ENVIRONMENT_SCOPE = "environment"
"""The name of the scope of the whole environment; no stack may have this name."""


@dataclass(frozen=True)
class Scope:
    """A stack, a kind of data, or the whole environment."""

    name: str
    """The name that an operator types: a stack, a kind of data, or ``environment``."""
    kind: Literal["stack", "data", "environment"]


def scopes(stacks: Iterable[str]) -> tuple[Scope, ...]:
    """Return every scope of a schema with these stacks."""
    return (
        *(Scope(stack, "stack") for stack in stacks),
        *(Scope(kind, "data") for kind in WIPED_KINDS),
        Scope(ENVIRONMENT_SCOPE, "environment"),
    )


def services_in(catalogue: Catalogue, scope: Scope) -> tuple[str, ...]:
    """Return the services that may lose data: members of the stack, users of its volumes."""
    if scope.kind == "environment":
        return tuple(catalogue.services)
    is_stack = scope.kind == "stack"
    wiped = {
        volume
        for volume, stack in catalogue.volume_owners.items()
        if scope.name == (stack if is_stack else catalogue.schema.volumes[volume].holds)
    }
    return tuple(
        name
        for name, entry in catalogue.services.items()
        if (is_stack and entry.stack == scope.name)
        or any(mount.volume in wiped for mount in entry.definition.mounts)
    )


def find_scope(catalogue: Catalogue, name: str) -> Scope:
    """Return the scope called ``name``.

    An environment's own name isn't a scope: ``testing`` is a stack too, and a wipe must not have
    two meanings.

    Raises:
        UnknownNameError: there is no such scope.
    """
    known = {scope.name: scope for scope in scopes(catalogue.schema.stacks)}
    if name not in known:
        raise UnknownNameError(
            f"{name!r} cannot be wiped{did_you_mean(name, known)}",
            remedy=f"use one of: {', '.join(known)}",
        )
    return known[name]
