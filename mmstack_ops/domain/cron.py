"""Validate five-field cron expressions as Dagster's schedules accept them; find the next run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_MONTHS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days in each month; for February, in a leap year."""
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


def cron_problem(expression: str) -> str | None:
    """Return what is wrong with a cron expression, or None if it is valid.

    Accepts numbers, names, ``*``, lists, ranges and steps in the five standard fields
    (crontab(5)). Does not accept seconds, ``@daily`` or Quartz letters.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"{expression!r} has {len(fields)} fields; a cron expression has five"
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for item in text.split(","):
            problem = _item_problem(item, low, high, names)
            if problem:
                return f"{expression!r}: {name} {item!r} {problem}"
    if not _ever_fires(days=fields[2], months=fields[3]):
        return f"{expression!r} never fires: no month it names has such a day"
    return None


def _ever_fires(*, days: str, months: str) -> bool:
    """Return whether any of the months has one of the days.

    In crontab(5), a day of the week is an alternative to the day of the month. Dagster's
    scheduler looks for the day of the month first, and fails.
    """
    longest = max(_LONGEST[month - 1] for month in _numbers(months, 3))
    return min(_numbers(days, 2)) <= longest


def _numbers(text: str, field: int) -> set[int]:
    """Return the numbers that a valid field represents."""
    _, low, high, names = _FIELDS[field]
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = ("*", "", "") if span == "*" else span.partition("-")
        begin = _number(first, low, names) or low
        end = _number(last, low, names) or high if dash else begin
        if first == "*" or (slash and not dash):
            end = high
        found.update(range(begin, end + 1, int(step) if slash else 1))
    return found


def _item_problem(item: str, low: int, high: int, names: tuple[str, ...]) -> str | None:
    span, slash, step = item.partition("/")
    if slash and (not _is_number(step) or int(step) == 0):
        return "has a step that is not a positive number"
    if span == "*":
        return None
    first, dash, last = span.partition("-")
    ends = [_number(first, low, names)] + ([_number(last, low, names)] if dash else [])
    numbers = [end for end in ends if end is not None]
    if len(numbers) != len(ends):
        return "is not a number, a name, a range, a list or '*'"
    if any(not low <= number <= high for number in numbers):
        return f"is outside {low}-{high}"
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        return "is a range that runs backwards"
    if numbers[0] == (high if slash and not dash else numbers[-1]) and (dash or slash):
        # Dagster would read it as `*`: hourly, where once a day was meant.
        return f"is a range of one: write {numbers[0]}"
    return None


def _is_number(text: str) -> bool:
    # isdigit() alone is true for superscripts, which int() rejects.
    return text.isascii() and text.isdigit()


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if _is_number(text):
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None


_CHANGING_HOURS = (1, 2, 3)
"""Hours of the night in which Dagster expects clock changes."""
_LAST_SAFE_DAY = 28
_LOOK_BACK = timedelta(hours=3)
"""Longer than any clock change."""


def next_run(expression: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment, ``now`` or later, at which Dagster runs a schedule.

    Schedules follow the wall clock of ``zone``. At a clock change, a time that is skipped runs at
    the end of the gap, and a time that occurs twice runs the second time. Hourly schedules run
    every hour.

    Args:
        expression: a valid cron expression.
        now: the current time, with a time zone.
    """
    # Imported here because validating a schema does not need it.
    from croniter import croniter

    fields: Sequence[Sequence[int | str]] = croniter.expand(expression)[0]
    minutes, hours = fields[0], fields[1]
    if minutes != ["*"] and all(field == ["*"] for field in fields[1:]):
        return _next_in_hour(minutes, now, zone)
    wall = now.astimezone(zone).replace(tzinfo=None)
    times: Iterator[datetime] = croniter(expression, wall - _LOOK_BACK).all_next(datetime)
    if hours == ["*"]:
        return _next_of_every_hour(times, now, zone, until=wall + _LOOK_BACK)
    is_plain = _is_plain(fields)
    return next(
        moment.astimezone(zone)
        for moment in (_moment(time, zone, is_plain=is_plain) for time in times)
        if moment.astimezone(UTC) >= now
    )


def _next_in_hour(minutes: Sequence[int | str], now: datetime, zone: ZoneInfo) -> datetime:
    moment = now.astimezone(UTC).replace(second=0, microsecond=0)
    if moment < now:
        moment += timedelta(minutes=1)
    while moment.astimezone(zone).minute not in minutes:
        moment += timedelta(minutes=1)
    return moment.astimezone(zone)


def _next_of_every_hour(
    times: Iterator[datetime], now: datetime, zone: ZoneInfo, *, until: datetime
) -> datetime:
    """Return the first of ``times``, counting each as often as it occurs on the clock.

    Args:
        until: near a clock change, a time before ``until`` may be an earlier moment than those
            found so far.
    """
    found: list[datetime] = []
    for time in times:
        both = (time.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        found += [m.astimezone(UTC) for m in both if _exists(m) and m.astimezone(UTC) >= now]
        if found and time > until:
            break
    return min(found).astimezone(zone)


def _is_plain(fields: Sequence[Sequence[int | str]]) -> bool:
    """Return whether it runs once a day: every day, on weekdays, or on one day of the month."""
    minutes, hours, days, months, weekdays = fields
    if len(minutes) > 1 or len(hours) > 1 or "*" in (*minutes, *hours) or months != ["*"]:
        return False
    if days == ["*"]:
        return True
    first = days[0]
    one_day = len(days) == 1 and isinstance(first, int) and first <= _LAST_SAFE_DAY
    return one_day and weekdays == ["*"]


def _moment(time: datetime, zone: ZoneInfo, *, is_plain: bool) -> datetime:
    """Return the moment at which Dagster runs a time on the clock."""
    local = time.replace(tzinfo=zone)
    may_change = time.hour in _CHANGING_HOURS
    if not _exists(local):
        if not may_change:
            return local
        # Where daylight saving applies in winter (Ireland), this ends in the gap, as in Dagster.
        saving = (local + timedelta(hours=1)).dst() or timedelta()
        return (local.replace(minute=0) + saving).replace(fold=int(is_plain))
    # For a plain schedule, Dagster looks only at these hours.
    return local.replace(fold=1) if may_change or not is_plain else local


def _exists(local: datetime) -> bool:
    there_and_back = local.astimezone(UTC).astimezone(local.tzinfo)
    return there_and_back.replace(tzinfo=None) == local.replace(tzinfo=None)
