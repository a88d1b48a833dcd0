"""Check the structure of a backup: its type reads all of it with its own tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmstack_ops.adapters.stores.backup_type import BackupType, OpenArtifact, Workbench
from mmstack_ops.artifacts.inconclusive import INCONCLUSIVE_ERRORS
from mmstack_ops.domain.errors import CancelledError, MmstackError


def structure_check(
    kind: BackupType, bench: Workbench, *, image: str
) -> Callable[[OpenArtifact], Sequence[str]]:
    """Return the check that ``verify_copy`` calls if all bytes are as they were written.

    The check raises only ``INCONCLUSIVE_ERRORS``: the state of the copy is then unknown. Any
    other failure is returned as a description of a problem of the copy.

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
                # The tool was killed by the cancellation, so its failure says nothing either.
                raise CancelledError("the verification was cancelled") from None
            return [error.what + (f" ({error.why})" if error.why else "")]

    return check
