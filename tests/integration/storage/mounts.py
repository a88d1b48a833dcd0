"""Real mounts for tests, gone afterwards. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted(point: Path, *arguments: str) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        yield point
    finally:
        # Lazily: a test that failed may still hold a file open.
        subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)


@contextmanager
def tmpfs(point: Path, size: str) -> Iterator[Path]:
    with mounted(point, "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as made:
        yield made
