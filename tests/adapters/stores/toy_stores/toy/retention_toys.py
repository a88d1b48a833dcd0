"""Its retention rule."""

from __future__ import annotations

from mmstack_ops.adapters.stores.volumes.retention_files import VolumeFiles


class Toys(VolumeFiles):
    """Its files past their age."""
