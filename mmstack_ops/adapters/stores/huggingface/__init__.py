"""Hugging Face caches: models, retention of revisions, change detection."""

from __future__ import annotations

from mmstack_ops.adapters.stores.store import Store

STORE = Store(
    package=__name__,
    method="huggingface",
    backup_types={"models": "models.HuggingfaceModels"},
    retention={"revisions": "retention_revisions.HuggingfaceRevisions"},
)
