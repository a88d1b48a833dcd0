"""Remove the networks that a plan names, and no others."""

from __future__ import annotations

from collections.abc import Callable

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import EngineError, EngineUnavailableError
from mmstack_ops.domain.networks.orphans import NetworkCleanupPlan, NetworkDecision


def remove_orphans(
    engine: EngineWriter,
    plan: NetworkCleanupPlan,
    look_again: Callable[[], NetworkCleanupPlan],
    tell: Callable[[str], None],
) -> tuple[tuple[NetworkDecision, ...], dict[str, str]]:
    """Remove orphans by id, each after another check; return them, and name → why one is kept.

    A network that the engine doesn't remove doesn't affect the others.

    Raises:
        EngineUnavailableError: the engine became unavailable.
    """
    gone: list[NetworkDecision] = []
    kept: dict[str, str] = {}
    for orphan in plan.orphans:
        # A container may have joined the network since the plan was made.
        now = {one.id: one for one in look_again().decisions}.get(orphan.id)
        if now is None:
            continue  # It was removed in the meantime.
        if not now.orphan:
            kept[orphan.name] = now.reason
            continue
        try:
            engine.remove_network(orphan.id, orphan.name)
        except EngineUnavailableError:
            raise
        except EngineError as error:
            kept[orphan.name] = "; ".join(filter(None, (error.what, error.why)))
            tell(f"kept {orphan.name}: {kept[orphan.name]}")
            continue
        gone.append(orphan)
        tell(f"removed network {orphan.name} ({', '.join(orphan.subnets)})")
    return tuple(gone), kept
