"""Journal records of an instance; records of live and scratch servers are kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench


def record_key(kind: str, instance: Instance) -> str:
    """Return the journal key for records of a kind about an instance."""
    return f"{kind} {instance.name}"


def leftovers(bench: Workbench, kind: str, instance: Instance) -> Iterator[Mapping[str, str]]:
    """Yield the records of killed processes about an instance; delete each; see ``Workbench``.

    A record is kept if undoing it raises an error.
    """
    yield from bench.leftovers(record_key(kind, instance))
    if not instance.scratch:
        # Earlier versions used the service's name: such a record is about the live server.
        yield from bench.leftovers(f"{kind} {instance.service}")
