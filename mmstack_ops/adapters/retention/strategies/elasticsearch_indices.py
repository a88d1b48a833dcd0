"""Old indices of Elasticsearch, one by one, by exact name.

Tested against a scripted server only: docs/retention.md says what that means.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/cat-indices.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import ClassVar
from urllib.parse import quote

from mmstack_ops.adapters.backups.types.elasticsearch_full import ElasticsearchServer
from mmstack_ops.adapters.retention.strategies.base import Gone, Site
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import IndicesRule


@dataclass(frozen=True)
class _Index:
    name: str
    made_at: datetime
    size: int


class ElasticsearchIndices:
    """Indices made before the moment; a lifecycle policy of the server's own comes first."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: IndicesRule) -> Found:
        """List indices; see ``Strategy.look``."""
        server = ElasticsearchServer(site.instance)
        indices, managed = _indices(server, site, rule)
        going = [one for one in indices if one.made_at < site.before]
        return Found(
            things="indices",
            total=len(indices),
            expired=len(going),
            freed_bytes=sum(one.size for one in going),
            oldest=min((one.made_at for one in indices), default=None),
            newest=max((one.made_at for one in indices), default=None),
            names=tuple(one.name for one in going),
            notes=(f"{managed} are left to their lifecycle policies",) if managed else (),
        )

    def clean(self, site: Site, rule: IndicesRule) -> Gone:
        """Delete one by one; see ``Strategy.clean``."""
        server = ElasticsearchServer(site.instance)
        indices, _ = _indices(server, site, rule)
        count = freed = 0
        for one in indices:
            if one.made_at >= site.before:
                continue
            site.check()
            answer = server.ask("DELETE", f"/{quote(one.name, safe='')}", missing_is_fine=True)
            if not answer.get("acknowledged"):
                site.tell(f"index {one.name} was gone already")
                continue
            site.tell(f"index {one.name} went")
            count, freed = count + 1, freed + one.size
        return Gone(count, freed)


def _indices(
    server: ElasticsearchServer, site: Site, rule: IndicesRule
) -> tuple[list[_Index], int]:
    """Return the indices a rule is about, the oldest first, and how many are managed."""
    pattern = quote(rule.pattern, safe="*")
    listed = server.ask(
        "GET",
        f"/_cat/indices/{pattern}?format=json&bytes=b&expand_wildcards=open,closed"
        "&h=index,creation.date,store.size",
        missing_is_fine=True,
    )
    if not listed and "*" not in rule.pattern:
        raise RetentionError(
            f"{site.instance.service} has no index {rule.pattern}",
            why="the schema declares a retention for it",
            remedy="correct the rule's pattern, or take the rule out of the schema",
        )
    backing = _backing_indices(server)
    found: list[_Index] = []
    managed = 0
    for one in listed or ():
        name = str(one["index"])
        # The server's own indices begin with a dot. It resolves aliases as well: a rule is about
        # indices of that name. A data stream is shortened by its own lifecycle.
        if name.startswith(".") or name in backing or not fnmatchcase(name, rule.pattern):
            continue
        explained = server.ask("GET", f"/{quote(name, safe='')}/_ilm/explain")
        if explained["indices"][name].get("managed"):
            managed += 1
            continue
        moment = datetime.fromtimestamp(int(one["creation.date"]) / 1000, UTC)
        found.append(_Index(name, moment, int(one["store.size"] or 0)))
    return sorted(found, key=lambda index: index.made_at), managed


def _backing_indices(server: ElasticsearchServer) -> frozenset[str]:
    """Return the indices that stand behind data streams: one that was migrated keeps its name."""
    streams = server.ask("GET", "/_data_stream/*?expand_wildcards=all", missing_is_fine=True)
    return frozenset(
        str(one["index_name"])
        for stream in streams.get("data_streams", ())
        for one in stream["indices"]
    )
