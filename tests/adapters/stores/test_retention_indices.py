"""Elasticsearch's indices against a scripted server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.elasticsearch.retention_indices import ElasticsearchIndices
from mmstack_ops.domain.errors import RetentionError
from mmstack_ops.domain.schema.retention import IndicesRule
from tests.adapters.stores.retention_sites import DAY, scripted, site

KIND = ElasticsearchIndices()


@dataclass
class Server:
    """Indices by name → days since they were made."""

    indices: dict[str, float]
    managed: set[str] = field(default_factory=set)
    phases: tuple[str, ...] = ("hot", "delete")
    unsure: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    fails_at: int = 0
    aliased: set[str] = field(default_factory=set)
    streams: dict[str, list[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str) -> tuple[int, object]:
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[0] == "_data_stream":
            if not self.streams:
                return 404, {"error": "no such index"}
            streams = [
                {"name": name, "indices": [{"index_name": one} for one in own]}
                for name, own in self.streams.items()
            ]
            return 200, {"data_streams": streams}
        if parts[:2] == ["_cat", "indices"]:
            begin, _, _ = parts[2].partition("*")
            found = {
                name: days
                for name, days in self.indices.items()
                if name in self.aliased
                or name == parts[2]
                or ("*" in parts[2] and name.startswith(begin))
            }
            if not found and "*" not in parts[2]:
                return 404, {"error": "index_not_found_exception"}
            return 200, [
                {
                    "index": name,
                    "creation.date": str(int((time.time() - days * DAY) * 1000)),
                    # A closed index says no size.
                    "store.size": None if name in self.closed else "1000",
                }
                for name, days in found.items()
            ]
        if parts[1:] == ["_ilm", "explain"]:
            lifecycle = {"managed": True, "policy": "own"} if parts[0] in self.managed else {}
            return 200, {"indices": {parts[0]: {"managed": False, **lifecycle}}}
        if parts == ["_ilm", "policy"]:
            return 200, {"own": {"policy": {"phases": {phase: {} for phase in self.phases}}}}
        assert method == "DELETE"
        if self.fails_at and len(self.deleted) + 1 == self.fails_at:
            self.fails_at = 0
            return 503, {"error": "no master"}
        del self.indices[parts[0]]
        if parts[0] in self.taken:
            return 404, {"error": "index_not_found_exception"}
        self.deleted.append(parts[0])
        return 200, {"acknowledged": parts[0] not in self.unsure}


@pytest.fixture
def elastic() -> Iterator[tuple[Instance, Server]]:
    server = Server({"logs-1": 40, "logs-2": 31, "logs-3": 5, "metrics-1": 40})

    def answer(method: str, path: str) -> tuple[int, bytes]:
        status, body = server.answer(method, path)
        return status, json.dumps(body).encode()

    with scripted("elasticsearch", answer) as instance:
        yield instance, server


def rule(pattern: str = "logs-*") -> IndicesRule:
    return IndicesRule(strategy="indices", pattern=pattern)


def test_old_indices_go_by_name(elastic: tuple[Instance, Server]) -> None:
    instance, server = elastic
    here = site(instance, days=30)
    found = KIND.look(here, rule())
    assert (found.total, found.expired, found.freed_bytes) == (3, 2, 2000)
    assert found.names == ("logs-1", "logs-2")
    assert KIND.clean(here, rule()).count == 2
    assert server.deleted == ["logs-1", "logs-2"]
    assert set(server.indices) == {"logs-3", "metrics-1"}


def test_what_the_server_manages_and_its_own_stay(elastic: tuple[Instance, Server]) -> None:
    instance, server = elastic
    server.managed = {"logs-1"}
    server.indices[".ds-logs"] = 90
    here = site(instance, days=30)
    found = KIND.look(here, rule("*"))
    assert found.names == ("metrics-1", "logs-2")
    assert found.notes == ("1 are left to their lifecycle policies",)
    KIND.clean(here, rule("*"))
    assert set(server.indices) == {"logs-1", "logs-3", ".ds-logs"}


def test_a_name_that_is_not_there_is_an_error_a_pattern_may_match_none(
    elastic: tuple[Instance, Server],
) -> None:
    instance, _ = elastic
    with pytest.raises(RetentionError, match="has no index traces-1"):
        KIND.look(site(instance, days=30), rule("traces-1"))
    assert KIND.look(site(instance, days=30), rule("traces-*")).total == 0


def test_a_server_that_fails_half_way_is_finished_the_next_time(
    elastic: tuple[Instance, Server],
) -> None:
    instance, server = elastic
    server.fails_at = 2
    here = site(instance, days=30)
    with pytest.raises(RetentionError, match=r"1 indices went, then: .* refused DELETE /logs-2"):
        KIND.clean(here, rule())
    assert server.deleted == ["logs-1"]
    assert KIND.clean(here, rule()).count == 1
    assert server.deleted == ["logs-1", "logs-2"]


def test_an_index_that_is_listed_by_an_alias_stays(elastic: tuple[Instance, Server]) -> None:
    """The server resolves aliases too: the rule names indices."""
    instance, server = elastic
    server.aliased = {"important"}
    server.indices["important"] = 90
    here = site(instance, days=30)
    assert KIND.look(here, rule()).names == ("logs-1", "logs-2")
    KIND.clean(here, rule())
    assert "important" in server.indices


def test_what_stands_behind_a_data_stream_stays_whatever_its_name(
    elastic: tuple[Instance, Server],
) -> None:
    instance, server = elastic
    # Migrated from an alias: it keeps the name it had.
    server.streams = {"app": ["logs-1"]}
    here = site(instance, days=30)
    assert KIND.look(here, rule()).names == ("logs-2",)
    assert KIND.clean(here, rule()).count == 1
    assert "logs-1" in server.indices


def test_a_closed_index_goes_too(elastic: tuple[Instance, Server]) -> None:
    instance, server = elastic
    server.closed = {"logs-1"}
    gone = KIND.clean(site(instance, days=30), rule())
    assert (gone.count, gone.freed_bytes) == (2, 1000)


def test_what_somebody_else_deleted_is_not_counted(elastic: tuple[Instance, Server]) -> None:
    instance, server = elastic
    server.taken = {"logs-1"}
    gone = KIND.clean(site(instance, days=30), rule())
    assert (gone.count, gone.freed_bytes) == (1, 1000)


def test_a_deletion_that_not_all_nodes_confirmed_yet_counts(
    elastic: tuple[Instance, Server],
) -> None:
    instance, server = elastic
    server.unsure = {"logs-1"}
    assert KIND.clean(site(instance, days=30), rule()).count == 2


def test_what_a_policy_never_deletes_is_told_and_stays(elastic: tuple[Instance, Server]) -> None:
    """It may be the index a rollover writes to: taking it away is its owner's business."""
    instance, server = elastic
    server.managed = {"logs-1"}
    server.phases = ("hot", "warm")
    here = site(instance, days=30)
    assert KIND.look(here, rule()).notes == (
        "1 are left to their lifecycle policies",
        "policies without a delete phase keep logs-1 for ever",
    )
    assert KIND.clean(here, rule()).count == 1
    assert "logs-1" in server.indices


def test_an_index_that_was_made_beyond_the_calendar_is_from_the_future(
    elastic: tuple[Instance, Server],
) -> None:
    instance, server = elastic
    server.indices["logs-odd"] = -1e9
    found = KIND.look(site(instance, days=30), IndicesRule(strategy="indices", pattern="logs-odd"))
    assert (found.total, found.expired) == (1, 0)
    assert found.newest is not None
    assert found.newest.year == 9999
