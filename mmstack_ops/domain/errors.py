"""The error hierarchy.

Every error says three things: what failed, why, and what to do next. The command line
prints them without a traceback and exits with ``exit_code``; Dagster shows the same text
as the failure's description.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from itertools import islice

_OUTER, _INNER = 10, 30
"""Places shown at the start and end of a long traceback: endless recursion has a thousand."""


class MmstackError(Exception):
    """A failure that the operator can act on.

    Args:
        what: what failed, in one sentence, naming the object it failed on.
        why: the cause as far as it is known.
        remedy: what to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        self.what = what
        self.why = why
        self.remedy = remedy
        super().__init__(what, why, remedy)

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.remedy:
            lines.append(f"  do:  {self.remedy}")
        return "\n".join(lines)


class UnexpectedError(MmstackError):
    """An exception that the code did not expect. Carries the places of its traceback.

    The exception's own text is dropped: a library may have put a credential or a URL into it.

    Args:
        what: the work that failed, such as ``restart in core``.
        kind: the exception's type.
        places: ``file:line in function``, outermost first. They contain no values.
    """

    def __init__(self, what: str, kind: str, places: tuple[str, ...]) -> None:
        self.places = places
        super().__init__(
            f"{what} failed with {kind}. This is a bug in mmstack-ops:"
            " please report it with the places below."
        )

    @classmethod
    def of(cls, what: str, error: BaseException) -> UnexpectedError:
        """Return what may be shown of ``error`` and of the exceptions that led to it."""
        places = _places(error)
        seen = {id(error)}
        earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        while earlier is not None and id(earlier) not in seen:
            seen.add(id(earlier))
            places += [f"after {type(earlier).__name__}:", *_places(earlier)]
            earlier = earlier.__cause__ or (
                None if earlier.__suppress_context__ else earlier.__context__
            )
        return cls(what, type(error).__name__, tuple(places))

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {place}" for place in self.places)])


def _places(error: BaseException) -> list[str]:
    found = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    left_out = len(found) - _OUTER - _INNER
    if left_out <= 0:
        return found
    return [*found[:_OUTER], f"({left_out} more)", *found[-_INNER:]]


class InputError(MmstackError):
    """Invalid input or usage, refused before anything was changed."""

    exit_code = 2


class SchemaError(InputError):
    """The schema is invalid. Carries every problem found, with its place in the file."""

    def __init__(self, problems: tuple[str, ...], *, source: str) -> None:
        self.problems = problems
        count = len(problems)
        super().__init__(
            f"{source} has {count} problem{'s' if count != 1 else ''}:\n  " + "\n  ".join(problems),
            remedy="correct the named lines, then run `mmstack validate schema`",
        )


class UnknownNameError(InputError):
    """A service, stack, environment, … that the schema doesn't declare."""


class SecretError(MmstackError):
    """The secret store can't be read or written, or lacks a secret. Never carries a value."""


class RenderError(MmstackError):
    """A template or a generated file can't be rendered."""


class EngineError(MmstackError):
    """The Docker engine refused or failed an operation."""


class EngineUnavailableError(EngineError):
    """No Docker engine answers."""


class ReadOnlyViolationError(MmstackError):
    """Read-only code tried to write. Always a bug, never the operator's fault."""


class ImageUnavailableError(EngineError):
    """An image is neither present, nor pullable, nor buildable."""


class AddressConflictError(EngineError):
    """A subnet, network name or host port is already used by another owner."""


class HealthTimeoutError(EngineError):
    """A container didn't become healthy before its deadline."""


class LockHeldError(MmstackError):
    """Another process is changing this environment."""


class PlanStaleError(MmstackError):
    """The state changed between plan and apply."""


class CancelledError(MmstackError):
    """The operator cancelled the run; what it had started was rolled back."""


class ArtifactError(MmstackError):
    """A stored backup is damaged, incomplete, or can't be read."""


class BackupError(MmstackError):
    """A backup couldn't be taken. Nothing that looks like a backup was left."""


class FileVanishedError(BackupError):
    """A file or object changed during its backup, or can't be read completely."""


class FileGoneError(FileVanishedError):
    """A file or object was deleted before it could be backed up."""


class RestoreError(MmstackError):
    """A restore failed; the message gives the state of the service."""


class UntouchedError(RestoreError):
    """A restore failed, and the data it was to replace is unchanged."""

    @classmethod
    def of(cls, error: MmstackError) -> UntouchedError:
        """Return an error with the same text, which also states that nothing was changed."""
        return cls(error.what, why=error.why, remedy=error.remedy)


class PartialRestoreError(RestoreError):
    """Everything was loaded except single items that the service refuses.

    Args:
        refused: name, as in the facts → reason.
    """

    def __init__(self, what: str, *, refused: Mapping[str, str], remedy: str = "") -> None:
        shown = "; ".join(f"{name!r}: {why}" for name, why in islice(refused.items(), 5))
        super().__init__(what, why=shown, remedy=remedy)
        self.refused = dict(refused)


class RetentionError(MmstackError):
    """A safety rail of retention stopped a deletion."""


class TierError(MmstackError):
    """A storage tier refused or failed an operation."""


class TierUnavailableError(TierError):
    """A tier can't be used now: not mounted, not reachable, credentials refused."""


class TierFullError(TierError):
    """A tier has no room left, or its quota would be exceeded."""


class FileMissingError(TierError):
    """A tier doesn't have the requested file."""


class ImmutableError(TierError):
    """A file that exists on a tier would be overwritten, or is under object lock."""
