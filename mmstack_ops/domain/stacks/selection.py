"""Select services by target, including services that left the schema but have containers."""

from __future__ import annotations

from collections.abc import Sequence

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.stacks.observed import ObservedState


def select_present(
    catalogue: Catalogue, targets: Sequence[str], observed: ObservedState
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the services that ``targets`` name: those of the schema, and those that left it.

    A service that left the schema is named by its own name, by its stack, and by the environment.

    Raises:
        UnknownNameError: a target is none of these.
    """
    environment = catalogue.environment
    left = observed.undeclared(environment, catalogue.services)
    gone = {*left, *left.values()} - {*catalogue.services, *catalogue.schema.stacks}
    known = [target for target in targets if target not in gone]
    return catalogue.select(known, dependencies=False), tuple(
        name
        for name, stack in left.items()
        if name in targets or stack in targets or environment in targets
    )
