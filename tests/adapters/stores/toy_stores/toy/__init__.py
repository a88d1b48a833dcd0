"""A store that only a test has."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="toy",
    backup_types={"copy": "copy.ToyCopy", "notes": "copy.ToyNotes"},
    retention={"toys": "retention_toys.Toys"},
)
