"""All stacks of production at once, and the neighbours that have nothing to do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import docker
import pytest

from mmstack_ops.domain.stacks import labels
from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.alone]

STACKS = ("core", "inference", "ai", "ui", "testing", "monitoring")
SERVICES = {
    *("postgres", "redis", "qdrant", "minio"),
    *("vllm", "litellm"),
    *("multimodal-worker", "retrieval-proxy", "ai-agents"),
    *("memory-system", "search-engine", "user-management"),
    *("openwebui", "n8n", "n8n-monitoring", "nginx"),
    *("allure-results", "allure-report", "allure-cli", "jmeter"),
    *("prometheus", "grafana", "elasticsearch", "kibana", "logstash", "filebeat"),
}
REPLICAS = {"multimodal-worker": 3, "retrieval-proxy": 3, "litellm": 2}
RANGES = {
    "multimodal-worker": ("8001/tcp", [8101, 8102, 8103]),
    "retrieval-proxy": ("8002/tcp", [8111, 8112, 8113]),
    "litellm": ("4000/tcp", [4000, 4001]),
}
IDLE = ["sleep", "600"]


@pytest.fixture
def neighbours(engine: docker.DockerClient, product: Product) -> Iterator[dict[str, str]]:
    """Containers and a volume named much like ours that are none of ours: name → start."""
    names = {
        "multimodal-other": {},
        f"{product.owner}-production-core-redis-9": {},
        # Another tool's Compose project with a service of the same name.
        f"{product.owner}-other-redis-1": {
            "com.docker.compose.project": f"{product.owner}-other",
            "com.docker.compose.service": "redis",
            "com.docker.compose.container-number": "1",
        },
    }
    marks = {"io.mmstack.test": product.owner}
    volume = engine.volumes.create(f"{product.owner}-production-core_other", labels=marks)
    made = []
    try:
        for name, theirs in names.items():
            made.append(
                engine.containers.run(
                    "mmstack-lab/base:lab",
                    IDLE,
                    entrypoint=[],
                    name=name,
                    labels={**marks, **theirs},
                    volumes={volume.name: {"bind": "/kept", "mode": "rw"}},
                    init=True,
                    detach=True,
                )
            )
        yield {c.id: engine.containers.get(c.id).attrs["State"]["StartedAt"] for c in made}
    finally:
        for container in made:
            container.remove(force=True)
        volume.remove(force=True)


def test_all_services_of_production(product: Product, neighbours: dict[str, str]) -> None:
    product.done("-e", "production", "secrets", "generate")
    started = product.done("-e", "production", "start", *STACKS, "--json", seconds=240)
    assert started.outcomes() == dict.fromkeys(SERVICES, "created")

    document = product.done("-e", "prod", "status", "--json").document()
    assert document["environment"] == "production"
    found = {one["service"]: one for one in document["services"]}
    assert found.keys() == SERVICES
    for service, one in found.items():
        wanted = REPLICAS.get(service, 1)
        assert one["condition"] == "healthy", one
        assert one["replicas"] == {"up": wanted, "wanted": wanted}
        assert len(one["containers"]) == wanted
        assert (one["drift"], one["drift_unknown"]) == ([], ""), service
        assert one["restarts"] == 0, service

    containers = product.found("production")
    assert Counter(c.labels[labels.SERVICE] for c in containers) == {
        service: REPLICAS.get(service, 1) for service in SERVICES
    }
    offset = product.schema()["config"]["address_plans"]["test"]["port_offset"]
    for service, (inside, ports) in RANGES.items():
        published = {}
        for container in containers:
            if container.labels[labels.SERVICE] == service:
                (one,) = container.attrs["NetworkSettings"]["Ports"][inside]
                published[int(container.labels[labels.NUMBER])] = int(one["HostPort"])
        assert published == {n: offset + port for n, port in enumerate(ports, start=1)}

    # Also as seen from inside each of them: gateways, names, ports, protocols, all that is shut.
    health = product.done("-e", "production", "network", "health", "--json").document()
    assert health["clean"]
    assert {one["source"] for one in health["gateways"]} == SERVICES
    assert {one["source"] for one in health["cells"]} == SERVICES

    before = product.lives()
    again = product.done("-e", "production", "start", *STACKS, "--json")
    assert again.outcomes() == dict.fromkeys(SERVICES, "unchanged")
    assert product.lives() == before

    product.done("-e", "production", "stop", *STACKS, seconds=240)
    assert product.found() == []
    mine = {"label": f"{labels.OWNER}={product.owner}"}
    assert product.engine.networks.list(filters=mine) == []
    assert len(product.engine.volumes.list(filters=mine)) == len(product.schema()["volumes"])
    for identity, start in neighbours.items():
        state = product.engine.containers.get(identity).attrs["State"]
        assert (state["Status"], state["StartedAt"]) == ("running", start)
