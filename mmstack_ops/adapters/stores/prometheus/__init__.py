"""Prometheus: snapshots of its storage, and retention of samples."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="prometheus",
    backup_types={"full": "full.PrometheusFull"},
    retention={"metrics": "retention_samples.PrometheusSamples"},
)
