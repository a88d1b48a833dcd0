"""Structure verification: a type reads all of a backup with its own tools."""

from __future__ import annotations

import time
from dataclasses import replace

from mmstack_ops.adapters.backups.types.base import BackupType, OpenArtifact, Workbench
from mmstack_ops.domain.backups.events import VerifyResult
from mmstack_ops.domain.errors import (
    CancelledError,
    EngineUnavailableError,
    ImageUnavailableError,
    MmstackError,
    TierUnavailableError,
)

# These say nothing about the backup.
_NO_VERDICT = (
    CancelledError,
    EngineUnavailableError,
    ImageUnavailableError,
    TierUnavailableError,
)


def check_structure(
    result: VerifyResult, artifact: OpenArtifact, kind: BackupType, bench: Workbench, image: str
) -> VerifyResult:
    """Return ``result`` with the problems that ``kind`` finds in the structure.

    A copy whose bytes are already known to be wrong isn't read again: its structure says
    nothing more.

    Args:
        result: of the verification of this copy's hashes.
        image: the service's image, for its tools.

    Raises:
        EngineUnavailableError: no tool could be run: nothing was learned about the copy.
        ImageUnavailableError, TierUnavailableError, CancelledError: likewise.
    """
    if not result.ok:
        return result
    begun = time.monotonic()
    try:
        problems = kind.check(bench, artifact, image)
    except _NO_VERDICT:
        raise
    except MmstackError as error:
        if bench.cancel.is_set():
            raise CancelledError(f"the verification of {result.ref} was cancelled") from None
        problems = [error.what + (f" ({error.why})" if error.why else "")]
    seconds = result.seconds + time.monotonic() - begun
    if not problems:
        return replace(result, seconds=seconds)
    # Healed from a copy with the same structure: that one is as bad.
    return replace(
        result, seconds=seconds, problems=(*result.problems, *problems), healed_from=None
    )
