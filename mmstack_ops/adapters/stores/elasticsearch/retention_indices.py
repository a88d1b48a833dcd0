"""Delete old indices of Elasticsearch, one by one, by exact name.

Tested only against a scripted server: docs/retention.md explains what that means.
https://www.elastic.co/guide/en/elasticsearch/reference/8.19/cat-indices.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import ClassVar
from urllib.parse import quote

from mmstack_ops.adapters.stores.elasticsearch.server import ElasticsearchServer
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, counted
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import IndicesRule


@dataclass(frozen=True)
class _Index:
    name: str
    made_at: datetime
    size: int


@dataclass(frozen=True)
class _Listed:
    """The indices that a rule applies to.

    Args:
        indices: the oldest first.
        managed: the number of other indices, which have a lifecycle policy.
        endless: those of the others whose policy never deletes anything.
    """

    indices: tuple[_Index, ...]
    managed: int
    endless: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        told = [f"{self.managed} are left to their lifecycle policies"] if self.managed else []
        if self.endless:
            told.append(f"policies without a delete phase keep {', '.join(self.endless)} for ever")
        return tuple(told)


class ElasticsearchIndices:
    """Indices created before the moment; a lifecycle policy of the server takes precedence."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: IndicesRule) -> Found:
        """List indices; see ``Strategy.look``."""
        server = ElasticsearchServer(site.instance)
        listed = _listed(server, site, rule)
        indices = listed.indices
        going = [one for one in indices if one.made_at < site.before]
        return Found(
            things="indices",
            total=len(indices),
            expired=len(going),
            freed_bytes=sum(one.size for one in going),
            oldest=min((one.made_at for one in indices), default=None),
            newest=max((one.made_at for one in indices), default=None),
            names=tuple(one.name for one in going),
            notes=listed.notes,
        )

    def clean(self, site: Site, rule: IndicesRule) -> Gone:
        """Delete indices one by one; see ``Strategy.clean``."""
        server = ElasticsearchServer(site.instance)
        with counted(site, "indices") as tally:
            for one in _listed(server, site, rule).indices:
                if one.made_at >= site.before:
                    continue
                site.check()
                answer = server.ask("DELETE", f"/{quote(one.name, safe='')}", missing_is_fine=True)
                # Missing: there was no such index. False: not all nodes have confirmed yet.
                if "acknowledged" not in answer:
                    site.tell(f"index {one.name} was gone already")
                    continue
                site.tell(f"index {one.name} deleted")
                tally.count += 1
                tally.freed_bytes += one.size
        return Gone(tally.count, tally.freed_bytes)


def _listed(server: ElasticsearchServer, site: Site, rule: IndicesRule) -> _Listed:
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
    policies: dict[str, str] = {}
    for one in listed or ():
        name = str(one["index"])
        # The server's own indices begin with a dot. The server also resolves aliases, but a rule
        # applies to indices of that name. A data stream is shortened by its own lifecycle.
        if name.startswith(".") or name in backing or not fnmatchcase(name, rule.pattern):
            continue
        explained = server.ask("GET", f"/{quote(name, safe='')}/_ilm/explain")
        lifecycle = explained["indices"][name]
        if lifecycle.get("managed"):
            policies[name] = str(lifecycle.get("policy", ""))
            continue
        moment = from_epoch(int(one["creation.date"]) / 1000)
        found.append(_Index(name, moment, int(one["store.size"] or 0)))
    deleting = _deleting_policies(server) if policies else frozenset()
    endless = tuple(name for name, policy in sorted(policies.items()) if policy not in deleting)
    return _Listed(tuple(sorted(found, key=lambda one: one.made_at)), len(policies), endless)


def _deleting_policies(server: ElasticsearchServer) -> frozenset[str]:
    """Return the lifecycle policies that delete an index in the end."""
    found = server.ask("GET", "/_ilm/policy", missing_is_fine=True)
    return frozenset(
        name for name, one in found.items() if "delete" in one["policy"].get("phases", {})
    )


def _backing_indices(server: ElasticsearchServer) -> frozenset[str]:
    """Return the indices behind data streams: an index that was migrated keeps its name."""
    streams = server.ask("GET", "/_data_stream/*?expand_wildcards=all", missing_is_fine=True)
    return frozenset(
        str(one["index_name"])
        for stream in streams.get("data_streams", ())
        for one in stream["indices"]
    )
