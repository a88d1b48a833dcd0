"""Volumes of a service as files, and retention of files."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="volumes",
    backup_types={"full": "full.VolumesFull"},
    retention={"files": "retention_files.VolumeFiles"},
)
