"""Points in time as people and run config write them."""

from __future__ import annotations

from datetime import datetime, tzinfo

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.units import shown

FIRST_YEAR, LAST_YEAR = 1971, 9998
"""A change of time zone leads out of no calendar from here."""


def parse_moment(text: str, zone: tzinfo | None) -> datetime:
    """Read a point in time.

    Args:
        zone: what holds where ``text`` names no offset; None: this machine's own.

    Raises:
        InputError: when ``text`` isn't ISO 8601, or of a year in which there were no backups.
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
