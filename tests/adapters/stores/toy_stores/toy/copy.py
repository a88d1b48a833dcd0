"""Its backup types."""

from __future__ import annotations

from mmstack_ops.adapters.stores.volumes.full import VolumesFull


class ToyCopy(VolumesFull):
    """Its volumes as they are."""

    method = "toy"
    name = "copy"


class ToyNotes(VolumesFull):
    """The same under another name, which no restore takes by itself."""

    method = "toy"
    name = "notes"
