"""Errors that say nothing about the state of the checked backup."""

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
"""After one of these errors, the state of the backup is unknown: it may be intact."""
