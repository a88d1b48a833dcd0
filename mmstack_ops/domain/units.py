"""Parse and format durations and sizes as they are written in the schema."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
LONGEST = "36500d"
"""The longest duration, 100 years: it means forever."""

# Docker and Compose read K, M, G as powers of 1024; storage quotas (KB, MB, GB, TB)
# are sold and billed in powers of 1000.
_BYTES = {
    "": 1, "B": 1,
    "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
    "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
}  # fmt: skip
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*(B|[KMGT](iB|B)?)?$"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
LARGEST = "1000000TB"
"""The largest size, an exabyte."""


def parse_duration(value: object, low: str = "0s", high: str = LONGEST) -> float:
    """Return a duration such as ``"1h30m"`` or ``"7d"`` in seconds.

    Args:
        value: a duration as text, or a number of seconds.
        low, high: the accepted range, both ends included.

    Raises:
        ValueError: the text is not a sequence of numbers with units ms, s, m, h, d, w; or the
            duration is out of range, or not a number (NaN).
    """
    found = _seconds(value)
    # Also false for NaN.
    if _seconds(low) <= found <= _seconds(high):
        return float(found)
    years = " (100 years)" if high == LONGEST else ""
    raise ValueError(f"{shown(value)} is out of range: {low} to {high}{years}")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as '30s', '5m', '7d'")
    if not isinstance(value, str):
        return value
    if not is_duration(value):
        raise ValueError(f"{shown(value)} is not a duration such as '30s', '1h30m', '7d'")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(value))


def is_duration(text: str) -> bool:
    """Return whether a text has the form of a duration; the range is not checked."""
    return re.fullmatch(DURATION_PATTERN, text) is not None and not text.endswith("\n")


def parse_size(value: object, low: str = "0B", high: str = LARGEST) -> int:
    """Return a size such as ``"4G"`` (binary, as in Docker) or ``"100 GB"`` (decimal) in bytes.

    Args:
        value: a size as text, or a number of bytes.
        low, high: the accepted range, both ends included.

    Raises:
        ValueError: the text is not a number with a known unit, or the size is out of range.
    """
    found = _bytes(value)
    if _bytes(low) <= found <= _bytes(high):
        return int(found)
    raise ValueError(f"{shown(value)} is out of range: {low} to {high}")


def _bytes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a size such as '512M', '4G', '100GB'")
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{shown(value)} is not a size such as '512M', '4G', '100GB'")
    return float(match[1]) * _BYTES[match[2]]


def shown(value: object) -> str:
    """Return a value as shown in messages; long values are truncated."""
    if isinstance(value, int) and abs(value) >= 10**40:
        # Python refuses to convert a number with thousands of digits to text.
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def format_bytes(count: int) -> str:
    """Return ``count`` bytes for display, with a binary unit and one decimal: ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """Return a duration for display: ``0.4 s``, ``1m 05s``, ``3h 10m``, ``2d 4h``."""
    if seconds < 60 or not math.isfinite(seconds):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h"
