"""Journal records of one instance: those of a live server are never taken for a scratch one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench


def record_key(kind: str, instance: Instance) -> str:
    """Return the journal's key for records of a kind about one instance."""
    return f"{kind} {instance.name}"


def leftovers(bench: Workbench, kind: str, instance: Instance) -> Iterator[Mapping[str, str]]:
    """Yield what killed processes left of an instance, and forget each; see ``Workbench``.

    A record whose undoing raises stays.
    """
    yield from bench.leftovers(record_key(kind, instance))
    if not instance.scratch:
        # Earlier versions wrote the service's name: such a record is about the live server.
        yield from bench.leftovers(f"{kind} {instance.service}")
