"""Points in time as people type them."""

from __future__ import annotations

import time
from datetime import datetime

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import parse_duration


def parse_since(text: str) -> float:
    """Return seconds since the epoch for a span back from now, or for a moment.

    Args:
        text: ``10m``, ``2h``, ``1h30m``, or ISO 8601 (without an offset: local time).

    Raises:
        InputError: when it is neither.
    """
    try:
        return time.time() - parse_duration(text)
    except ValueError:
        # Not a span: perhaps a moment.
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise InputError(
            f"--since {text!r} is neither a span nor a moment",
            remedy="write a span such as 10m or 2h, or a moment such as 2026-01-31T12:00:00",
        ) from None
