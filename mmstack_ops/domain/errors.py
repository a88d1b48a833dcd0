"""The one error hierarchy.

Every error says three things: what failed, why, and what to do next. The command line
prints them without a traceback and exits with ``exit_code``; Dagster shows the same text
as the failure's description.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from itertools import islice

_OUTER, _INNER = 10, 30
"""Places shown of a long way: endless recursion has a thousand."""


class MmstackError(Exception):
    """Something failed that the operator can act on.

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
    """An exception that no code of ours expected. Carries the places it came through.

    The exception's own text is dropped: a library may have put a credential or a URL into it.

    Args:
        what: the work that failed, such as ``restart in core``.
        kind: the exception's type.
        places: ``file:line in function``, the outermost first. They hold no values.
    """

    def __init__(self, what: str, kind: str, places: tuple[str, ...]) -> None:
        self.places = places
        super().__init__(
            f"{what} failed with {kind}. This is a bug in mmstack-ops:"
            " please report it with the places below."
        )

    @classmethod
    def of(cls, what: str, error: BaseException) -> UnexpectedError:
        """Return what may be shown of ``error``, and of the exceptions that led to it."""
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
    """Bad input or usage: refused before anything was touched."""

    exit_code = 2


class SchemaError(InputError):
    """The schema is not valid. Carries every problem found, each with its place."""

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
    """Code that may only look tried to write. Always a bug, never the operator's fault."""


class ImageUnavailableError(EngineError):
    """An image is neither present, nor pullable, nor buildable."""


class AddressConflictError(EngineError):
    """A subnet, network name or host port belongs to somebody else."""


class HealthTimeoutError(EngineError):
    """A container didn't become healthy before its deadline."""


class LockHeldError(MmstackError):
    """Another process is changing this environment."""


class PlanStaleError(MmstackError):
    """The world changed between plan and apply."""


class CancelledError(MmstackError):
    """The operator cancelled the run; what it had begun was taken back."""


class ArtifactError(MmstackError):
    """A stored backup is damaged, incomplete, or can't be read."""


class BackupError(MmstackError):
    """A backup couldn't be taken. Nothing that looks like one was left."""


class FileVanishedError(BackupError):
    """A file or object changed while it was to be backed up, or can't be read whole."""


class FileGoneError(FileVanishedError):
    """A file or object was deleted before it could be backed up."""


class RestoreError(MmstackError):
    """A restore failed; the message says in which state the service is now."""


class UntouchedError(RestoreError):
    """A restore failed, and what it was to replace is as it was before."""

    @classmethod
    def of(cls, error: MmstackError) -> UntouchedError:
        """Return an error that says the same, and that nothing was touched."""
        return cls(error.what, why=error.why, remedy=error.remedy)


class PartialRestoreError(RestoreError):
    """All was loaded but single things that the service refuses.

    Args:
        refused: name, as in the facts → why.
    """

    def __init__(self, what: str, *, refused: Mapping[str, str], remedy: str = "") -> None:
        shown = "; ".join(f"{name!r}: {why}" for name, why in islice(refused.items(), 5))
        super().__init__(what, why=shown, remedy=remedy)
        self.refused = dict(refused)


class RetentionError(MmstackError):
    """A rail of retention stopped a deletion."""


class TierError(MmstackError):
    """A storage tier refused or failed an operation."""


class TierUnavailableError(TierError):
    """A tier can't be used now: not mounted, not reachable, credentials refused."""


class TierFullError(TierError):
    """A tier has no room left, or its quota would be exceeded."""


class FileMissingError(TierError):
    """A tier doesn't hold the file that was asked for."""


class ImmutableError(TierError):
    """A file that stands on a tier was to be overwritten, or is under object lock."""
