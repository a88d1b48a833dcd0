"""How large the parts of a multipart upload are."""

from __future__ import annotations

MEBIBYTE = 1 << 20
MOST_PARTS = 10_000
"""What Amazon takes for one object, and its likes follow."""
LARGEST_OBJECT = 5 << 40
"""5 TiB, Amazon's limit for one object."""
SMALLEST = 8 * MEBIBYTE
"""Also the largest file that goes up in one request."""
_LARGEST = 5 << 30

# Parts grow late: each one in flight is memory. The first 8,000 carry 344 GiB in parts of at most
# 64 MiB; the last 2,000 must be large to reach 5 TiB.
_STEPS = (
    (1_000, 8 * MEBIBYTE),
    (2_000, 16 * MEBIBYTE),
    (4_000, 32 * MEBIBYTE),
    (8_000, 64 * MEBIBYTE),
    (MOST_PARTS, 2_500 * MEBIBYTE),
)
# A known size is met by equal parts, with some parts to spare should it have been too small.
_PLANNED_PARTS = 9_000
# Buffers of all parts of one file together, as long as one part alone isn't larger.
_MEMORY = 64 * MEBIBYTE
_MOST_IN_FLIGHT = 4


def part_size(number: int, expected_size: int | None) -> int:
    """Return the size in bytes of part ``number`` (from 1).

    A file of up to ``LARGEST_OBJECT`` bytes ends before ``MOST_PARTS``, unless it turns out
    many times larger than expected.

    Args:
        expected_size: bytes of the whole file, where they are known.
    """
    if expected_size is not None and number <= _PLANNED_PARTS:
        planned = -(-expected_size // _PLANNED_PARTS)
        if planned > SMALLEST:
            return min(_LARGEST, -(-planned // MEBIBYTE) * MEBIBYTE)
    return next(size for last, size in _STEPS if number <= last)


def in_flight(size: int) -> int:
    """Return how many parts of ``size`` bytes may be under way beside the one being filled.

    0: the part is sent before the next is filled.
    """
    return max(0, min(_MOST_IN_FLIGHT, _MEMORY // size - 1))
