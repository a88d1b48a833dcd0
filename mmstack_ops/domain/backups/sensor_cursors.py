"""What sensors remember between ticks, and what they decide. No Dagster here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


def digest(parts: Iterable[str]) -> str:
    """Return a short digest of a set of texts: the same in any order."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Version:
    """A content version that is watched: acted on when it changed and then stayed the same.

    A download or a migration goes on for a while: acting on its first sign would back up
    half of it. So a new version must be seen twice.

    Args:
        acted: the version the last action was for; empty before the first look.
        pending: a new one that was seen once.
        count: actions so far, so that a version that comes back is a new one.
    """

    acted: str = ""
    pending: str = ""
    count: int = 0

    def to_cursor(self) -> str:
        """Return the text Dagster keeps."""
        return json.dumps(vars(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Version:
        """Read ``to_cursor``'s text."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(self, found: str) -> tuple[str | None, Version]:
        """Return a run key when it is time to act, and what to remember.

        Args:
            found: the version now; empty when it can't be told: nothing changes then.
        """
        if not found or found == self.acted:
            return None, Version(self.acted, "", self.count)
        if not self.acted:
            # The first look: what is there is where watching begins.
            return None, Version(found, "", self.count)
        if found != self.pending:
            return None, Version(self.acted, found, self.count)
        after = Version(found, "", self.count + 1)
        return f"{found}:{after.count}", after


@dataclass(frozen=True)
class Copies:
    """The copies a tier lacks, and when they were asked for last.

    Args:
        asked: digest of the backups that were asked for.
        at: seconds since the epoch.
        attempt: how often that very set was asked for.
    """

    asked: str = ""
    at: float = 0.0
    attempt: int = 0

    def to_cursor(self) -> str:
        """Return the text Dagster keeps."""
        return json.dumps(vars(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Copies:
        """Read ``to_cursor``'s text."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(
        self, missing: Iterable[str], *, now: float, retry_after: float
    ) -> tuple[str | None, Copies]:
        """Return a run key when copies are to be asked for, and what to remember.

        The same set is asked for again only after ``retry_after`` seconds: the run that was
        to copy it failed then.
        """
        names = list(missing)
        if not names:
            return None, Copies()
        wanted = digest(names)
        if wanted != self.asked:
            after = Copies(wanted, now, 1)
        elif now - self.at >= retry_after or self.at > now:
            # A moment that lies ahead is a clock's that was put back since.
            after = Copies(wanted, now, self.attempt + 1)
        else:
            return None, self
        # The moment makes a set that comes back after all was copied a new one.
        return f"{wanted}:{after.at:.0f}:{after.attempt}", after


@dataclass(frozen=True)
class Growth:
    """Sizes of buckets when they were backed up last, as far as this sensor knows.

    Args:
        sizes: bucket → bytes.
        since: seconds since the epoch at which ``sizes`` were taken.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    since: float = 0.0

    def to_cursor(self) -> str:
        """Return the text Dagster keeps."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Growth:
        """Read ``to_cursor``'s text."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def look(
        self, found: Mapping[str, int], *, now: float, backed_up: float, limit: int
    ) -> tuple[list[str], Growth]:
        """Return the buckets that grew by ``limit`` bytes, and what to remember.

        Args:
            backed_up: when buckets were last backed up (0: never): what they held then is
                not growth any more.
        """
        if not found:
            return [], self
        if not self.sizes or backed_up > self.since:
            return [], Growth(dict(found), now)
        # A bucket that shrank grows from there; a new one grows from nothing.
        base = {name: min(size, self.sizes.get(name, 0)) for name, size in found.items()}
        grown = [name for name, size in sorted(found.items()) if size - base[name] >= limit]
        if grown:
            return grown, Growth(dict(found), now)
        return [], Growth(base, self.since)


@dataclass(frozen=True)
class Told:
    """What people were told already, by subject. Said again only after it was well between.

    Args:
        said: subject → what was said about it.
        since: seconds since the epoch at which watching began.
    """

    said: dict[str, str] = field(default_factory=dict)
    since: float = 0.0

    def to_cursor(self) -> str:
        """Return the text Dagster keeps."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def from_cursor(cls, cursor: str | None, *, now: float) -> Told:
        """Read ``to_cursor``'s text; without one, watching begins ``now``."""
        if not cursor:
            return cls(since=now)
        values: dict[str, Any] = json.loads(cursor)
        return cls(said=dict(values["said"]), since=min(float(values["since"]), now))

    def look(self, found: Mapping[str, str]) -> tuple[list[str], Told]:
        """Return the subjects to speak of, and what to remember.

        Args:
            found: subject → what is wrong with it now; subjects that are well are left out.
        """
        news = [name for name, what in sorted(found.items()) if self.said.get(name) != what]
        return news, Told(dict(found), self.since)
