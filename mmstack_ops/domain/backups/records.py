"""Records beside a backup: verifications, proofs, holds, acceptances, safety backups.

The name of a record contains everything that matters.

A record is written once and never changed, so that records can be stored on tape and under
object lock too. A hold ends with a separate record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

RecordKind = Literal["verified", "proven", "held", "released", "safety", "accepted"]
_RESULTS = {
    "verified": ("ok", "sampled", "corrupt", "unsound"),
    "proven": ("ok", "partial", "failed"),
    "held": ("ok",),
    "released": ("ok",),
    "safety": ("ok",),
    "accepted": ("ok",),
}
_TIME = "%Y%m%dT%H%M%S%fZ"
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class RecordName:
    """The contents of a record's name.

    Args:
        tier: the tier whose copy was checked.
        result: ``ok``; ``sampled`` if not every byte was read; ``corrupt``; ``unsound`` if all
            bytes are correct but tools find errors in the content; ``partial`` if everything
            compared is equal, but the backup doesn't cover all of the source; ``failed``.
    """

    kind: RecordKind
    tier: str
    at: datetime
    result: str

    def __str__(self) -> str:
        moment = self.at.astimezone(UTC).strftime(_TIME)
        return f"{self.kind}-{self.tier}-{moment}-{self.result}{_SUFFIX}"


def parse_record(name: str) -> RecordName | None:
    """Parse a record's name; None for any other name. A tier's name may contain hyphens."""
    kind, _, rest = name.removesuffix(_SUFFIX).partition("-")
    if not name.endswith(_SUFFIX) or kind not in _RESULTS:
        return None
    parts = rest.rsplit("-", 2)
    if len(parts) != 3 or not parts[0] or parts[2] not in _RESULTS[kind]:
        return None
    try:
        at = datetime.strptime(parts[1], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return RecordName(kind, parts[0], at, parts[2])  # type: ignore[arg-type]  # checked above
