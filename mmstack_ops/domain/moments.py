"""Calculate with moments and ages.

Moments are compared as moments, never as text, and are never outside the calendar.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

YOUNGEST = 3600.0
"""Seconds. Nothing younger than this is ever deleted because of its age."""

# One day inside the range of `datetime`, so that a change of time zone stays inside it too.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def later(moment: datetime, seconds: float) -> datetime:
    """Return the moment ``seconds`` after ``moment`` (before it, if negative).

    A moment outside the calendar becomes ``EARLIEST`` or ``LATEST``.

    Raises:
        ValueError: ``seconds`` is NaN.
    """
    if math.isnan(seconds):
        raise ValueError("NaN is no number of seconds")
    try:
        found = moment + timedelta(seconds=seconds)
        return min(max(found, EARLIEST), LATEST)
    except OverflowError:
        return LATEST if seconds > 0 else EARLIEST


def cutoff(now: datetime, age: float) -> datetime:
    """Return the moment before which things are older than ``age`` seconds.

    An age below ``YOUNGEST`` counts as ``YOUNGEST``.

    Raises:
        ValueError: ``age`` is NaN.
    """
    return later(now, -age if age > YOUNGEST or math.isnan(age) else -YOUNGEST)


def from_epoch(seconds: float) -> datetime:
    """Return a number of seconds since 1970 as a moment in UTC.

    A moment outside the calendar becomes ``EARLIEST`` or ``LATEST``: file systems and servers
    accept such times.

    Raises:
        ValueError: ``seconds`` is NaN.
    """
    return later(_EPOCH, seconds)
