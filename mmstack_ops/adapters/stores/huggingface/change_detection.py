"""Detect added and changed models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmstack_ops.adapters.stores.backup_type import Instance, Workbench


def models_digest(bench: Workbench, instance: Instance) -> str:
    """Return a digest of the file names and sizes of the model caches in an instance's volumes.

    Empty if the volumes can't be read from here.
    """
    digest = hashlib.sha256()
    seen = False
    for volume in sorted(set(instance.volumes.values())):
        folder = bench.volume_path(volume)
        if folder is None:
            continue
        seen = True
        for line in sorted(_lines(folder)):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest() if seen else ""


def _lines(folder: Path) -> list[str]:
    found: list[str] = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        # Downloads in progress, and their locks, aren't models yet.
        passing = path.name.endswith(".incomplete") or ".locks" in relative.parts
        if not passing and not path.is_dir():
            found.append(f"{relative} {path.lstat().st_size}\n")
    return found
