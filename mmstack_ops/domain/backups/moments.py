"""Points in time as people and run config write them."""

from __future__ import annotations

from datetime import datetime, tzinfo

from mmstack_ops.domain.errors import InputError


def parse_moment(text: str, zone: tzinfo | None) -> datetime:
    """Read a point in time.

    Args:
        zone: what holds where ``text`` names no offset; None: this machine's own.

    Raises:
        InputError: when ``text`` isn't ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is no point in time",
            remedy="write it as ISO 8601, such as 2026-01-31T12:00 or 2026-01-31T12:00:00+01:00",
        ) from None
    if moment.tzinfo is not None:
        return moment
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
