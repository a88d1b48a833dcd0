"""Whole Qdrant collections into which nothing was written for long."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from mmstack_ops.adapters.backups.types.qdrant_server import QdrantServer
from mmstack_ops.adapters.retention.strategies.base import Gone, Site, counted
from mmstack_ops.adapters.retention.strategies.qdrant_points import matching, moment_in
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import CollectionsRule


class QdrantCollections:
    """Collections whose newest point is before the moment; one behind an alias is in use."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: CollectionsRule) -> Found:
        """Look for the newest point of each; see ``Strategy.look``."""
        server = QdrantServer.of(site.instance)
        names = list(matching(server, site, rule))
        aliased = set(server.aliases().values())
        dated = {
            name: newest
            for name in names
            if name not in aliased and (newest := _newest(server, site, rule, name)) is not None
        }
        expired = sorted(name for name, newest in dated.items() if newest < site.before)
        stay = len(names) - len(dated)
        return Found(
            things="collections",
            total=len(names),
            expired=len(expired),
            oldest=min(dated.values(), default=None),
            newest=max(dated.values(), default=None),
            names=tuple(expired),
            notes=(f"{stay} stay: an alias names them, or none of their points has a moment",)
            if stay
            else (),
        )

    def clean(self, site: Site, rule: CollectionsRule) -> Gone:
        """Delete one by one, each looked at again; see ``Strategy.clean``."""
        server = QdrantServer.of(site.instance)
        with counted(site, "collections") as tally:
            for name in matching(server, site, rule):
                site.check()
                newest = _newest(server, site, rule, name)
                if newest is None or newest >= site.before:
                    continue
                # Asked last: an alias may have been given a moment ago.
                if name in server.aliases().values():
                    continue
                if server.delete_collection(name):
                    site.tell(f"collection {name} went")
                    tally.count += 1
        return Gone(tally.count, None)


def _newest(server: QdrantServer, site: Site, rule: CollectionsRule, name: str) -> datetime | None:
    """Return the newest moment in a collection; None when a point has none, or there is no point.

    A point that can't be dated may be the newest of all.
    """
    newest: datetime | None = None
    for points in server.payloads(name, rule.field):
        site.check()
        for _, value in points:
            moment = moment_in(value)
            if moment is None:
                return None
            newest = moment if newest is None else max(newest, moment)
    return newest
