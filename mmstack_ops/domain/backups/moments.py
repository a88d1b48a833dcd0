"""Parse points in time from operators and run config."""

from __future__ import annotations

from datetime import datetime, tzinfo

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import shown

FIRST_YEAR, LAST_YEAR = 1971, 9998
"""In these years, a change of time zone always stays inside the calendar."""


def parse_moment(text: str, zone: tzinfo | None) -> datetime:
    """Return the point in time that ``text`` names.

    Args:
        zone: the time zone if ``text`` has no offset; None for this machine's time zone.

    Raises:
        InputError: ``text`` isn't ISO 8601, or names a year in which there were no backups.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise InputError(
            f"{shown(text)} is no point in time",
            why="" if moment is None else f"the year must be in {FIRST_YEAR} to {LAST_YEAR}",
            remedy="write it as ISO 8601, such as 2026-01-31T12:00 or 2026-01-31T12:00:00+01:00",
        )
    if moment.tzinfo is not None:
        return moment
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
