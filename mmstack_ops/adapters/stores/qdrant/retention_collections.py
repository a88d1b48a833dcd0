"""Delete whole Qdrant collections that haven't been written to for a long time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from mmstack_ops.adapters.stores.qdrant.retention_points import is_older, matching, moment_in
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, counted
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import CollectionsRule


class QdrantCollections:
    """Collections whose newest point is before the moment; those behind an alias are in use."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: CollectionsRule) -> Found:
        """Find the newest point of each collection; see ``Strategy.look``."""
        server = QdrantServer.of(site.instance)
        names = list(matching(server, site, rule))
        aliased = set(server.aliases().values())
        dated = {
            name: state
            for name in names
            if name not in aliased and (state := _looked_at(server, site, rule, name)) is not None
        }
        expired = sorted(name for name, state in dated.items() if state.is_old)
        stay = len(names) - len(dated)
        return Found(
            things="collections",
            total=len(names),
            expired=len(expired),
            oldest=min((one.newest for one in dated.values()), default=None),
            newest=max((one.newest for one in dated.values()), default=None),
            names=tuple(expired),
            notes=(f"{stay} stay: an alias names them, or none of their points has a moment",)
            if stay
            else (),
        )

    def clean(self, site: Site, rule: CollectionsRule) -> Gone:
        """Delete collections one by one, each after another check; see ``Strategy.clean``."""
        server = QdrantServer.of(site.instance)
        with counted(site, "collections") as tally:
            for name in matching(server, site, rule):
                site.check()
                state = _looked_at(server, site, rule, name)
                if state is None or not state.is_old:
                    continue
                # Checked last: an alias may have been created just now.
                if name in server.aliases().values():
                    continue
                if server.delete_collection(name):
                    site.tell(f"collection {name} went")
                    tally.count += 1
        return Gone(tally.count, None)


@dataclass(frozen=True)
class _Dated:
    """A collection whose points all have a moment.

    Args:
        is_old: all of its points are before the rule's moment.
    """

    newest: datetime
    is_old: bool


def _looked_at(server: QdrantServer, site: Site, rule: CollectionsRule, name: str) -> _Dated | None:
    """Read all points of a collection; return None if one has no moment, or there is no point.

    A point without a moment may be the newest of all.
    """
    newest: datetime | None = None
    is_old = True
    for points in server.payloads(name, rule.field):
        site.check()
        for _, value in points:
            moment = moment_in(value)
            if moment is None:
                return None
            newest = moment if newest is None else max(newest, moment)
            is_old = is_old and is_older(value, site.before)
    return None if newest is None else _Dated(newest, is_old)
