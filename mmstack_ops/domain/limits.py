"""Check the range of numbers from a command line or a run's configuration."""

from __future__ import annotations

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import shown


def require_within(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless ``value`` is in the range, both ends included.

    Args:
        name: the option, as the operator wrote it: ``--watch``.

    Raises:
        InputError: the value is out of range, or not a number (NaN).
    """
    if not low <= value <= high:
        raise InputError(
            f"{name} {shown(value)} is out of range",
            remedy=f"give a number from {low:g} to {high:g}",
        )
