"""Hypothesis: the same examples in each `make test`, random and more in `make test-soak`."""

from __future__ import annotations

from hypothesis import settings

DEFAULT, SOAK = "default-run", "soak"
_MORE = 10


def register() -> None:
    """Make both profiles known, and the one of `make test` the default.

    `pytest --hypothesis-profile soak` chooses the other.
    """
    settings.register_profile(DEFAULT, deadline=None, derandomize=True)
    settings.register_profile(
        SOAK, deadline=None, max_examples=settings().max_examples * _MORE, print_blob=True
    )
    settings.load_profile(DEFAULT)


def examples(count: int) -> int:
    """Return how many examples a test tries that tries ``count`` in `make test`."""
    return count * settings().max_examples // settings.get_profile(DEFAULT).max_examples
