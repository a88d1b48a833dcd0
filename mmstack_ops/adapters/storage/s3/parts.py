"""Compute the sizes of the parts of a multipart upload."""

from __future__ import annotations

MEBIBYTE = 1 << 20
MOST_PARTS = 10_000
"""Amazon's limit for one object, which other endpoints also have."""
LARGEST_OBJECT = 5 << 40
"""5 TiB, Amazon's limit for one object."""
SMALLEST = 8 * MEBIBYTE
"""Also the largest file that is uploaded in one request."""
_LARGEST = 5 << 30

# Parts grow late, because each part in flight uses memory. The first 8,000 hold 344 GiB in parts of
# at most 64 MiB; the last 2,000 must be large to reach 5 TiB.
_STEPS = (
    (1_000, 8 * MEBIBYTE),
    (2_000, 16 * MEBIBYTE),
    (4_000, 32 * MEBIBYTE),
    (8_000, 64 * MEBIBYTE),
    (MOST_PARTS, 2_500 * MEBIBYTE),
)
# A file of known size has equal parts, with some parts to spare if the size was too small.
_PLANNED_PARTS = 9_000
# Buffers of all parts of one file together, unless a single part is larger.
_MEMORY = 64 * MEBIBYTE
_MOST_IN_FLIGHT = 4


def part_size(number: int, expected_size: int | None) -> int:
    """Return the size in bytes of part ``number`` (from 1).

    A file of up to ``LARGEST_OBJECT`` bytes fits in ``MOST_PARTS`` parts, unless it is many
    times larger than expected.

    Args:
        expected_size: bytes of the whole file, if known.
    """
    if expected_size is not None and number <= _PLANNED_PARTS:
        planned = -(-expected_size // _PLANNED_PARTS)
        if planned > SMALLEST:
            return min(_LARGEST, -(-planned // MEBIBYTE) * MEBIBYTE)
    return next(size for last, size in _STEPS if number <= last)


def in_flight(size: int) -> int:
    """Return how many parts of ``size`` bytes may be in flight besides the one being filled.

    0: the part is sent before the next one is filled.
    """
    return max(0, min(_MOST_IN_FLIGHT, _MEMORY // size - 1))
