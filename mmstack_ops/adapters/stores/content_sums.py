"""Sums of digests: whether two stores hold the same things, in whatever order they are read."""

from __future__ import annotations

from hashlib import sha256

GROUPS = 256
_MODULUS = 1 << 256


class ContentSums:
    """The SHA-256 of each thing, added to the sum of the group that the thing's name says.

    One thing that is missing, too much or different changes the sum of its group; where a store
    is written to meanwhile, the other groups stay comparable.
    """

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    def add(self, name: bytes, content: bytes) -> None:
        """Add one thing."""
        group = sha256(name).digest()[0]
        digest = int.from_bytes(sha256(content).digest())
        self._sums[group] = (self._sums.get(group, 0) + digest) % _MODULUS

    def items(self, place: str) -> dict[str, str]:
        """Return the sums as items of facts, each with a name below ``place``."""
        return {f"{place}/{group:02x}": f"{total:064x}" for group, total in self._sums.items()}
