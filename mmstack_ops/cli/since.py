"""Parse a point in time that was typed on the command line."""

from __future__ import annotations

import time

from mmstack_ops.domain.backups.moments import parse_moment
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import is_duration, parse_duration, shown


def parse_since(text: str) -> float:
    """Return the seconds since the epoch of a time span before now, or of a moment.

    Args:
        text: ``10m``, ``2h``, ``1h30m``, or ISO 8601 (without an offset: local time).

    Raises:
        InputError: if it is neither, or out of range.
    """
    if is_duration(text):
        try:
            return max(0.0, time.time() - parse_duration(text))
        except ValueError as error:
            raise InputError(f"--since: {error}", remedy="write a span such as 10m or 2h") from None
    try:
        return parse_moment(text, None).timestamp()
    except InputError as error:
        raise InputError(
            f"--since {shown(text)} is neither a span nor a moment",
            why=error.why,
            remedy="write a span such as 10m or 2h, or a moment such as 2026-01-31T12:00:00",
        ) from None
