"""The state of sensors between ticks, and their decisions. Does not use Dagster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


def digest(parts: Iterable[str]) -> str:
    """Return a short digest of a set of texts, independent of their order."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Version:
    """A watched content version: it is acted on if it changed and then stayed the same.

    A download or a migration takes a while: acting on the first change would back up half of
    it. So a new version must be seen twice.

    Args:
        acted: the version of the last action; empty before the first tick.
        pending: a new version that was seen once.
        count: actions so far, so that a version that returns counts as new.
    """

    acted: str = ""
    pending: str = ""
    count: int = 0

    def to_cursor(self) -> str:
        """Return the text that Dagster stores."""
        return json.dumps(vars(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Version:
        """Parse the text of ``to_cursor``."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(self, found: str) -> tuple[str | None, Version]:
        """Return a run key if it is time to act, and the state to keep.

        Args:
            found: the current version; empty if it is unknown, which counts as no change.
        """
        if not found or found == self.acted:
            return None, Version(self.acted, "", self.count)
        if not self.acted:
            # The first tick: watching starts from the current version.
            return None, Version(found, "", self.count)
        if found != self.pending:
            return None, Version(self.acted, found, self.count)
        after = Version(found, "", self.count + 1)
        return f"{found}:{after.count}", after


@dataclass(frozen=True)
class Copies:
    """The copies that a tier lacks, and when they were last requested.

    Args:
        asked: digest of the backups that were requested.
        at: seconds since the epoch.
        attempt: how often the same set was requested.
    """

    asked: str = ""
    at: float = 0.0
    attempt: int = 0

    def to_cursor(self) -> str:
        """Return the text that Dagster stores."""
        return json.dumps(vars(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Copies:
        """Parse the text of ``to_cursor``."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(
        self, missing: Iterable[str], *, now: float, retry_after: float
    ) -> tuple[str | None, Copies]:
        """Return a run key if copies should be requested, and the state to keep.

        The same set is requested again only after ``retry_after`` seconds: by then, the run that
        should have copied it has failed.
        """
        names = list(missing)
        if not names:
            return None, Copies()
        wanted = digest(names)
        if wanted != self.asked:
            after = Copies(wanted, now, 1)
        elif now - self.at >= retry_after or self.at > now:
            # A moment in the future means that the clock was set back since.
            after = Copies(wanted, now, self.attempt + 1)
        else:
            return None, self
        # With the moment, a set that returns after everything was copied counts as new.
        return f"{wanted}:{after.at:.0f}:{after.attempt}", after


@dataclass(frozen=True)
class Growth:
    """Sizes of buckets at their last backup, as far as this sensor knows.

    Args:
        sizes: bucket → bytes.
        since: when ``sizes`` were read, in seconds since the epoch.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    since: float = 0.0

    def to_cursor(self) -> str:
        """Return the text that Dagster stores."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Growth:
        """Parse the text of ``to_cursor``."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(
        self, found: Mapping[str, int], *, now: float, backed_up: float, limit: int
    ) -> tuple[list[str], Growth]:
        """Return the buckets that grew by ``limit`` bytes, and the state to keep.

        Args:
            backed_up: when buckets were last backed up (0: never); growth before that doesn't
                count any more.
        """
        if not found:
            return [], self
        if not self.sizes or backed_up > self.since:
            return [], Growth(dict(found), now)
        # A bucket that shrank grows from its new size; a new bucket grows from zero.
        base = {name: min(size, self.sizes.get(name, 0)) for name, size in found.items()}
        grown = [name for name, size in sorted(found.items()) if size - base[name] >= limit]
        if grown:
            return grown, Growth(dict(found), now)
        return [], Growth(base, self.since)


@dataclass(frozen=True)
class Told:
    """Problems that were already reported, by subject.

    A problem is reported again only if it was resolved in between.

    Args:
        said: subject → what was reported about it.
        since: when watching started, in seconds since the epoch.
    """

    said: dict[str, str] = field(default_factory=dict)
    since: float = 0.0

    def to_cursor(self) -> str:
        """Return the text that Dagster stores."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def from_cursor(cls, cursor: str | None, *, now: float) -> Told:
        """Parse the text of ``to_cursor``; without a text, watching starts ``now``."""
        if not cursor:
            return cls(since=now)
        values: dict[str, Any] = json.loads(cursor)
        return cls(said=dict(values["said"]), since=min(float(values["since"]), now))

    def look(self, found: Mapping[str, str]) -> tuple[list[str], Told]:
        """Return the subjects to report, and the state to keep.

        Args:
            found: subject → its current problem; subjects without a problem are left out.
        """
        news = [name for name, what in sorted(found.items()) if self.said.get(name) != what]
        return news, Told(dict(found), self.since)
