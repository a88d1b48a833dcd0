"""Numbers that come from a command line or a run's configuration, and their ranges."""

from __future__ import annotations

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import shown


def require_within(name: str, value: float, low: float, high: float) -> None:
    """Return if ``value`` is in the range, both ends included.

    Args:
        name: the option, as the operator wrote it: ``--watch``.

    Raises:
        InputError: it is outside, or not a number (NaN).
    """
    if not low <= value <= high:
        raise InputError(
            f"{name} {shown(value)} is out of range",
            remedy=f"give a number from {low:g} to {high:g}",
        )
