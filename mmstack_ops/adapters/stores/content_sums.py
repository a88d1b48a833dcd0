"""Sums of digests, to compare the content of two stores independently of the read order."""

from __future__ import annotations

from hashlib import sha256

GROUPS = 256
_MODULUS = 1 << 256


class ContentSums:
    """Sums of SHA-256 digests in groups; the name of a thing determines its group.

    A missing, additional or different thing changes the sum of its group. If a store is written
    to in the meantime, the other groups stay comparable.
    """

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    def add(self, name: bytes, content: bytes) -> None:
        """Add one thing."""
        group = sha256(name).digest()[0]
        digest = int.from_bytes(sha256(content).digest())
        self._sums[group] = (self._sums.get(group, 0) + digest) % _MODULUS

    def items(self, place: str) -> dict[str, str]:
        """Return the sums as items of facts, with names below ``place``."""
        return {f"{place}/{group:02x}": f"{total:064x}" for group, total in self._sums.items()}
