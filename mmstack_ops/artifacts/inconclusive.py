"""Failures that say nothing about the backup that was looked at."""

from __future__ import annotations

from mmstack_ops.artifacts.encryption import NoKeyError
from mmstack_ops.domain.errors import (
    CancelledError,
    EngineUnavailableError,
    ImageUnavailableError,
    TierUnavailableError,
)

INCONCLUSIVE_ERRORS = (
    CancelledError,
    EngineUnavailableError,
    ImageUnavailableError,
    NoKeyError,
    TierUnavailableError,
)
"""With one of these nothing was learned: the backup may be as good as ever."""
