"""Delete old points of Qdrant collections, by a field of their payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from mmstack_ops.adapters.stores.qdrant.server import QdrantServer, key_path
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, counted
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.moments import later
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import CollectionsRule, PointsRule

_DAY = 86400.0


class QdrantPoints:
    """Points whose field is before the moment; those without a moment in the field stay."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: PointsRule) -> Found:
        """Count points; see ``Strategy.look``."""
        server = QdrantServer.of(site.instance)
        total = undated = 0
        expired: dict[str, int] = {}
        oldest: datetime | None = None
        newest: datetime | None = None
        for collection in matching(server, site, rule):
            for points in server.payloads(collection, rule.field):
                site.check()
                for _, value in points:
                    total += 1
                    moment = moment_in(value)
                    if moment is None:
                        undated += 1
                        continue
                    oldest = moment if oldest is None else min(oldest, moment)
                    newest = moment if newest is None else max(newest, moment)
                    if is_older(value, site.before):
                        expired[collection] = expired.get(collection, 0) + 1
        return Found(
            things="points",
            total=total,
            expired=sum(expired.values()),
            oldest=oldest,
            newest=newest,
            names=tuple(f"{name}: {count}" for name, count in sorted(expired.items())),
            notes=(f"{undated} without a moment in {rule.field!r} stay",) if undated else (),
        )

    def clean(self, site: Site, rule: PointsRule) -> Gone:
        """Delete points by id and moment, in batches; see ``Strategy.clean``."""
        server = QdrantServer.of(site.instance)
        with counted(site, "points") as tally:
            for collection in matching(server, site, rule):
                for points in server.payloads(collection, rule.field):
                    site.check()
                    old = {point: value for point, value in points if is_older(value, site.before)}
                    if old:
                        tally.count += _delete(server, collection, rule.field, old)
        return Gone(tally.count, None)


def _delete(server: QdrantServer, collection: str, field: str, old: Mapping[Any, Any]) -> int:
    """Delete points that still hold one of the old values; return how many were deleted.

    A point that was rewritten under its id since it was read has another value, and stays.
    """
    key = key_path(field)
    texts = sorted({value for value in old.values() if isinstance(value, str)})
    latest = max((value for value in old.values() if not isinstance(value, str)), default=None)
    still: list[dict[str, Any]] = []
    if texts:
        still.append({"key": key, "match": {"any": texts}})
    if latest is not None:
        still.append({"key": key, "range": {"lte": float(latest)}})
    these = {"has_id": list(old)}
    server.delete_matching(collection, {"must": [these], "should": still})
    return len(old) - server.count(collection, {"must": [these]})


def matching(server: QdrantServer, site: Site, rule: PointsRule | CollectionsRule) -> Iterator[str]:
    """Yield the collections that a rule applies to.

    Raises:
        RetentionError: it names a collection that doesn't exist; a pattern may match none.
    """
    found = [name for name in server.collections() if fnmatchcase(name, rule.collection)]
    if not found and not any(sign in rule.collection for sign in "*?["):
        raise RetentionError(
            f"{site.instance.service} has no collection {rule.collection}",
            why="the schema declares a retention for it",
            remedy="correct the rule's collection, or take the rule out of the schema",
        )
    yield from found


def moment_in(value: Any) -> datetime | None:
    """Return the moment in a payload's value: RFC 3339, or seconds since the epoch."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            # In UTC, so that it can also be compared and shown in any time zone later.
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        # The value isn't a moment.
        return None
    return None


def is_older(value: Any, before: datetime) -> bool:
    """Return whether the moment in a payload's value is before another.

    A date without a time is before it if its whole day is.
    """
    moment = moment_in(value)
    if moment is None:
        return False
    return later(moment, _DAY) <= before if _is_date(value) else moment < before


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
