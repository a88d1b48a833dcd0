"""Cron expressions: five fields, as Dagster's schedules take them."""

from __future__ import annotations

_MONTHS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of each month, of February in a leap year."""
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


def cron_problem(expression: str) -> str | None:
    """Say what is wrong with a cron expression, or None when nothing is.

    Accepts numbers, names, ``*``, lists, ranges and steps in the five standard fields
    (crontab(5)); no seconds, no ``@daily``, no Quartz letters.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"{expression!r} has {len(fields)} fields; a cron expression has five"
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for item in text.split(","):
            problem = _item_problem(item, low, high, names)
            if problem:
                return f"{expression!r}: {name} {item!r} {problem}"
    if not _exists(days=fields[2], months=fields[3]):
        return f"{expression!r} never fires: no month it names has such a day"
    return None


def _exists(*, days: str, months: str) -> bool:
    """Return whether any of the months ever has one of the days.

    A day of the week would be an alternative by crontab(5), but not to Dagster's scheduler: it
    looks for the day of the month first, and fails.
    """
    longest = max(_LONGEST[month - 1] for month in _numbers(months, 3))
    return min(_numbers(days, 2)) <= longest


def _numbers(text: str, field: int) -> set[int]:
    """Return the numbers that a valid field stands for."""
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
        # Dagster would take it for `*`: hourly, where somebody meant once a day.
        return f"is a range of one: write {numbers[0]}"
    return None


def _is_number(text: str) -> bool:
    # isdigit() alone is true for superscripts, which int() refuses.
    return text.isascii() and text.isdigit()


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if _is_number(text):
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None
