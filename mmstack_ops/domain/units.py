"""Durations and sizes as people write them in the schema."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION_PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"

# Docker and Compose read K, M, G as powers of 1024; storage quotas (KB, MB, GB, TB)
# are sold and billed in powers of 1000.
_BYTES = {
    "": 1, "B": 1,
    "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
    "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
}  # fmt: skip
SIZE_PATTERN = r"^\d+(\.\d+)?\s*(B|[KMGT](iB|B)?)?$"
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$")


def parse_duration(value: object) -> float:
    """Turn ``"1h30m"`` or ``"7d"`` into seconds.

    Raises:
        ValueError: when the text is not a sequence of numbers with units ms, s, m, h, d, w.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as '30s', '5m', '7d'")
    if isinstance(value, int | float):
        return float(value)
    if not re.match(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration such as '30s', '1h30m', '7d'")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(value))


def parse_size(value: object) -> int:
    """Turn ``"4G"`` (binary, as Docker reads it) or ``"100 GB"`` (decimal) into bytes.

    Raises:
        ValueError: when the text is not a number with a known unit.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a size such as '512M', '4G', '100GB'")
    if isinstance(value, int):
        return value
    match = _SIZE.match(value.strip())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{value!r} is not a size such as '512M', '4G', '100GB'")
    return int(float(match[1]) * _BYTES[match[2]])


def format_bytes(count: int) -> str:
    """Return ``count`` bytes with a binary unit and one decimal, for people: ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """Return a span of time for people: ``0.4 s``, ``1m 05s``, ``3h 10m``, ``2d 4h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number"}],
            "description": "seconds, or a text such as 30s, 5m, 7d",
        }
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer"}],
            "description": "bytes, or a text such as 512M, 4G (binary), 100GB (decimal)",
        }
    ),
]
