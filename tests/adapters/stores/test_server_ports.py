"""Clients talk to the server's own port, wherever it stands among the service's ports."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.elasticsearch.full import ElasticsearchServer
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.postgres.server import Server
from mmstack_ops.adapters.stores.prometheus.full import ask as ask_prometheus
from mmstack_ops.adapters.stores.qdrant.server import QdrantServer
from mmstack_ops.adapters.stores.redis.server import RedisServer
from mmstack_ops.adapters.stores.s3.client import s3_client
from mmstack_ops.domain.errors import MmstackError
from mmstack_ops.domain.schema.service import Port, Service

METRICS = Port(name="metrics", container=9187)
HTTP_METRICS = Port(name="metrics", container=9187, speaks="http")
SECRETS = {
    "POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "x", "ELASTIC_PASSWORD": "x",
    "MINIO_ROOT_USER": "x", "MINIO_ROOT_PASSWORD": "x",
}  # fmt: skip


def instance_with(*ports: Port) -> Instance:
    made = tool_instance("lab/image:1", "testing", "service")
    return replace(
        made,
        definition=made.definition.model_copy(update={"ports": list(ports)}),
        spec=replace(made.spec, environment=SECRETS),
        address="127.0.0.1",
        running=True,
    )


def service_with(*ports: Port) -> Service:
    return instance_with(*ports).definition


def test_postgres_behind_a_port_for_metrics() -> None:
    found = Server.of(instance_with(METRICS, Port(name="db", container=5432)))
    assert found.port == 5432
    assert Server.of(instance_with(METRICS, Port(name="postgres", container=1))).port == 1


def test_redis_behind_a_port_for_metrics() -> None:
    found = RedisServer.of(instance_with(METRICS, Port(name="cache", container=6379)))
    assert found.port == 6379
    speaking = Port(name="cache", container=7000, speaks="redis")
    assert RedisServer.of(instance_with(METRICS, speaking)).port == 7000


def test_an_object_store_behind_a_port_for_metrics() -> None:
    api = Port(name="api", container=9000, speaks="http")
    client = s3_client(instance_with(HTTP_METRICS, api))
    assert client.meta.endpoint_url == "http://127.0.0.1:9000"
    named = s3_client(instance_with(HTTP_METRICS, Port(name="s3", container=8333)))
    assert named.meta.endpoint_url == "http://127.0.0.1:8333"


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """A server that notes what it is asked; gives its port and the paths."""
    asked: list[str] = []

    class Notes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"status": "success", "data": {}, "version": "1"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Quiet."""

    http = HTTPServer(("127.0.0.1", 0), Notes)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield http.server_port, asked
    http.shutdown()
    thread.join()
    http.server_close()


CLIENTS: dict[str, Callable[[Instance], object]] = {
    "qdrant": lambda instance: QdrantServer.of(instance).version(),
    "prometheus": lambda instance: ask_prometheus(instance, "GET", "/api/v1/status"),
    "elasticsearch": lambda instance: ElasticsearchServer(instance).ask("GET", "/"),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_an_api_behind_a_port_for_metrics(
    client: Callable[[Instance], object], server: tuple[int, list[str]]
) -> None:
    port, asked = server
    with suppress(MmstackError):
        # The answer means something to one of them only; that the question came is the point.
        client(instance_with(METRICS, Port(name="http", container=port)))
    assert asked


OWN = 6333
ports = st.builds(
    Port,
    name=st.sampled_from(["http", "metrics", "grpc", "postgres", "admin"]),
    container=st.sampled_from([OWN, 6334, 8080, 9187, 5432]),
    protocol=st.sampled_from(["tcp", "udp"]),
    speaks=st.sampled_from([None, "http", "postgres", "other"]),
)


@given(st.lists(ports, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_ports_means_nothing(some: list[Port], random: Any) -> None:
    mixed = list(some)
    random.shuffle(mixed)
    for role in ("http", "postgres", "s3"):
        known = {p.container for p in some if p.protocol == "tcp"} | {OWN}
        found = service_with(*some).server_port(role, OWN)
        assert found in known
        names = [p.name for p in some if p.protocol == "tcp"]
        if len(set(names)) == len(names):
            assert service_with(*mixed).server_port(role, OWN) == found


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ((), OWN),
        ((Port(name="db", container=7000),), 7000),
        ((Port(name="db", container=7000, speaks="other"),), OWN),
        ((METRICS, Port(name="db", container=7000)), OWN),
        ((METRICS, Port(name="db", container=7000, speaks="postgres")), 7000),
        ((Port(name="pooler", container=OWN), Port(name="postgres", container=7000)), 7000),
        ((Port(name="postgres", container=1, protocol="udp"),), OWN),
    ],
)
def test_what_the_schema_says_comes_first(ports: tuple[Port, ...], found: int) -> None:
    assert service_with(*ports).server_port("postgres", OWN) == found


def test_a_port_for_metrics_that_speaks_http_is_not_the_api() -> None:
    api = Port(name="api", container=OWN)
    assert service_with(HTTP_METRICS, api).server_port("http", OWN) == OWN
