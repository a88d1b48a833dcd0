"""Structure verification: a type reads all of a backup with its own tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmstack_ops.adapters.stores.backup_type import BackupType, OpenArtifact, Workbench
from mmstack_ops.artifacts.inconclusive import INCONCLUSIVE_ERRORS
from mmstack_ops.domain.errors import CancelledError, MmstackError


def structure_check(
    kind: BackupType, bench: Workbench, *, image: str
) -> Callable[[OpenArtifact], Sequence[str]]:
    """Return the check that ``verify_copy`` asks when all bytes are as they were written.

    What it raises is one of ``INCONCLUSIVE_ERRORS``: nothing was learned about the copy then.
    Any other failure is a problem of the copy, in words.

    Args:
        image: the service's image, for its tools.
    """

    def check(artifact: OpenArtifact) -> Sequence[str]:
        try:
            return kind.check(bench, artifact, image)
        except INCONCLUSIVE_ERRORS:
            raise
        except MmstackError as error:
            if bench.cancel.is_set():
                # A tool that was killed because of it says nothing either.
                raise CancelledError("the verification was cancelled") from None
            return [error.what + (f" ({error.why})" if error.why else "")]

    return check
