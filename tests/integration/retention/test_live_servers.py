"""Points of a real Qdrant engine and samples of a real Prometheus: what is old goes."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmstack_ops.adapters.stores.prometheus.full import ask as ask_prometheus
from mmstack_ops.adapters.stores.prometheus.retention_samples import PrometheusSamples
from mmstack_ops.adapters.stores.qdrant.retention_collections import QdrantCollections
from mmstack_ops.adapters.stores.qdrant.retention_points import QdrantPoints
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.domain.errors import BackupError, CancelledError, RetentionError
from mmstack_ops.domain.schema.retention import CollectionsRule, MetricsRule, PointsRule
from mmstack_ops.domain.stacks.spec import HealthSpec
from tests.adapters.stores.retention_sites import Folders, site
from tests.integration.backups.lab import definition, started
from tests.integration.backups.vectors import ask, qdrant
from tests.integration.world import World, wait_until

pytestmark = pytest.mark.integration

PROMETHEUS = "mmstack-lab/prometheus:lab"
POINTS = QdrantPoints()
COLLECTIONS = QdrantCollections()
SAMPLES = PrometheusSamples()


def filled(instance: Any, name: str, *, days: list[Any], field: str = "created_at") -> None:
    """A collection of points so many days old; what is no number stands as it is."""
    now = datetime.now(UTC)
    ask(instance, "PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}})
    points = [
        {
            "id": number,
            "vector": [1.0, float(number)],
            "payload": {
                field: (now - timedelta(days=age)).isoformat() if isinstance(age, int) else age
            },
        }
        for number, age in enumerate(days)
    ]
    ask(instance, "PUT", f"/collections/{name}/points?wait=true", {"points": points})


def test_old_points_go_and_undated_ones_stay(world: World) -> None:
    instance = qdrant(world)
    filled(instance, "many", days=[n % 100 for n in range(2500)])
    filled(instance, "odd", days=["long ago", None, "", [1], 5, time.time() - 90 * 86400.0])
    here = site(instance, days=59.5)
    rule = PointsRule(strategy="points", collection="*")
    found = POINTS.look(here, rule)
    assert (found.total, found.expired) == (2506, 1001)
    assert found.names == ("many: 1000", "odd: 1")
    assert found.notes == ("4 without a moment in 'created_at' stay",)
    assert POINTS.clean(here, rule).count == 1001
    server = QdrantServer.of(instance)
    assert (server.count("many"), server.count("odd")) == (1500, 5)
    assert POINTS.look(here, rule).expired == 0
    with pytest.raises(RetentionError, match="has no collection none"):
        POINTS.look(here, PointsRule(strategy="points", collection="none"))


def test_a_point_that_is_written_anew_just_before_it_would_go_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = qdrant(world)
    filled(instance, "many", days=[90, 90, 80, time.time() - 90 * 86400.0])
    here = site(instance, days=60)
    delete = QdrantServer.delete_matching

    def late(server: QdrantServer, collection: str, condition: Any) -> None:
        fresh = [
            {
                "id": number,
                "vector": [1.0, 2.0],
                "payload": {"created_at": value},
            }
            for number, value in ((0, datetime.now(UTC).isoformat()), (3, time.time()))
        ]
        ask(instance, "PUT", f"/collections/{collection}/points?wait=true", {"points": fresh})
        delete(server, collection, condition)

    monkeypatch.setattr(QdrantServer, "delete_matching", late)
    assert POINTS.clean(here, PointsRule(strategy="points", collection="many")).count == 2
    server = QdrantServer.of(instance)
    assert {one["id"] for one in server.points("many", [0, 1, 2, 3])} == {0, 3}


def test_a_clean_up_that_is_cancelled_or_fails_goes_on_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = qdrant(world)
    filled(instance, "many", days=[90] * 2500 + [1] * 10)
    rule = PointsRule(strategy="points", collection="many")
    folders = Folders()
    delete = QdrantServer.delete_matching

    def cancelling(*arguments: Any) -> None:
        delete(*arguments)
        folders.cancel.set()

    server = QdrantServer.of(instance)
    with monkeypatch.context() as patch:
        patch.setattr(QdrantServer, "delete_matching", cancelling)
        with pytest.raises(CancelledError, match="1000 points went before"):
            POINTS.clean(site(instance, days=60, folders=folders), rule)
    assert server.count("many") == 1510
    begun: list[bool] = []

    def failing(*arguments: Any) -> None:
        if begun:
            raise BackupError("qdrant refused it", why="status 500")
        begun.append(True)
        delete(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(QdrantServer, "delete_matching", failing)
        with pytest.raises(RetentionError, match="1000 points went, then: qdrant refused it"):
            POINTS.clean(site(instance, days=60), rule)
        # Nothing went before: the server's own error says it all.
        with pytest.raises(BackupError, match="qdrant refused it"):
            POINTS.clean(site(instance, days=60), rule)
    assert POINTS.clean(site(instance, days=60), rule).count == 500
    assert server.count("many") == 10


def test_a_field_with_a_dot_in_its_name_is_no_path(world: World) -> None:
    instance = qdrant(world)
    filled(instance, "odd", days=[90, 90, 1], field="made.at")
    rule = PointsRule(strategy="points", collection="odd", field="made.at")
    here = site(instance, days=60)
    assert POINTS.look(here, rule).expired == 2
    assert POINTS.clean(here, rule).count == 2
    assert QdrantServer.of(instance).count("odd") == 1


def test_old_collections_go_but_those_in_use_stay(world: World) -> None:
    instance = qdrant(world)
    for name in ("old", "aliased"):
        filled(instance, name, days=[80, 90])
    filled(instance, "young", days=[1, 90])
    filled(instance, "undated", days=[80, None])
    action = {"create_alias": {"alias_name": "live", "collection_name": "aliased"}}
    ask(instance, "POST", "/collections/aliases", {"actions": [action]})
    here = site(instance, days=60)
    rule = CollectionsRule(strategy="collections", collection="*")
    found = COLLECTIONS.look(here, rule)
    assert (found.total, found.expired, found.names) == (4, 1, ("old",))
    assert COLLECTIONS.clean(here, rule).count == 1
    assert QdrantServer.of(instance).collections() == ["aliased", "undated", "young"]


def prometheus(world: World, *, days: int) -> Any:
    """A server that scrapes itself, with a sample an hour for so many days back."""
    script = (
        "printf 'global: {scrape_interval: 1s}\\nscrape_configs:\\n- job_name: own\\n"
        '  static_configs: [{targets: ["127.0.0.1:9090"]}]\\n\' > /tmp/config.yml;'
        " now=$(date +%s); i=$(({days} * 24));"
        " { echo '# TYPE old gauge'; while [ $i -gt 3 ]; do echo \"old $i $((now - i * 3600))\";"
        " i=$((i - 1)); done; echo '# EOF'; } > /tmp/old.txt;"
        " promtool tsdb create-blocks-from openmetrics /tmp/old.txt /tmp/data >/dev/null;"
        " exec prometheus --config.file=/tmp/config.yml --storage.tsdb.path=/tmp/data"
        " --storage.tsdb.retention.time=90d --web.enable-admin-api"
    ).replace("{days}", str(days))
    made = started(
        world,
        "prometheus",
        image=PROMETHEUS,
        entrypoint=("sh", "-ec"),
        command=(script,),
        health=HealthSpec(
            test=("CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:9090/-/ready"
                  " || curl -fsS -o /dev/null http://127.0.0.1:9090/-/ready"),
            interval=0.5,
            timeout=30,
            retries=60,
            start_period=300,
            start_interval=0.5,
        ),
    )  # fmt: skip
    return replace(made, definition=definition("prometheus"))


def test_old_samples_go(world: World) -> None:
    instance = prometheus(world, days=30)
    here = site(instance, days=15)
    rule = MetricsRule(strategy="metrics")
    wait_until(lambda: SAMPLES.look(here, rule).oldest is not None, seconds=120)
    found = SAMPLES.look(here, rule)
    assert found.clock is not None
    assert 14 * 24 <= found.expired <= 16 * 24
    assert found.notes == ("counted in hours of history; the server itself keeps 90d",)

    def counted() -> int:
        query = "/api/v1/query?query=count_over_time(old[60d])"
        (series,) = ask_prometheus(instance, "GET", query)["result"]
        return int(series["value"][1])

    assert counted() > 28 * 24
    gone = SAMPLES.clean(here, rule)
    assert gone.count == found.expired
    assert counted() <= 15 * 24 + 1
    # What is left of a block that begins earlier isn't old: nothing goes twice.
    again = SAMPLES.look(here, rule)
    assert again.expired == 0
    assert again.oldest is not None
    assert again.oldest >= here.before - timedelta(hours=1)
    assert SAMPLES.clean(here, rule).count == 0
