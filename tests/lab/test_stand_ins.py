"""The stand-ins answer as health checks want it, fail when told to, and stop at once."""

from __future__ import annotations

import json

import pytest

from tests.lab.containers import Run

pytestmark = pytest.mark.integration


def curl(port: int, path: str = "/") -> tuple[str, ...]:
    return ("curl", "-fsS", "-o", "/dev/null", f"http://127.0.0.1:{port}{path}")


def test_answers_on_its_port_whatever_its_arguments(run: Run) -> None:
    server = run("vllm", ["--model", "some/model", "--gpu-memory-utilization", "0.9"])
    server.wait_until("healthy", lambda: server.exit_code(*curl(8000, "/health")) == 0)
    answer = json.loads(server.sh("curl -fsS http://127.0.0.1:8000/v1/models?a=b"))
    assert answer == {"service": "vllm", "stand_in": True, "path": "/v1/models"}
    assert server.exit_code("wget", "-q", "--spider", "http://127.0.0.1:8000/health") == 0
    assert server.exit_code("bash", "-c", ":> /dev/tcp/127.0.0.1/8000") == 0
    assert '"GET /v1/models?a=b HTTP/1.1" 200' in server.logs()
    refused = server.sh("curl -sS -o /dev/null -w '%{http_code}' -d x http://127.0.0.1:8000/")
    assert refused == "501"


def test_elasticsearch_is_green_on_both_ports(run: Run) -> None:
    server = run("elasticsearch")
    server.wait_until("healthy", lambda: server.exit_code(*curl(9300)) == 0)
    health = json.loads(server.sh("curl -fsS http://127.0.0.1:9200/_cluster/health"))
    assert health["status"] == "green"


def test_the_fail_file_makes_it_unhealthy_until_it_goes(run: Run) -> None:
    server = run("litellm", environment={"STANDIN_FAIL_FILE": "/run/broken"})
    server.wait_until("healthy", lambda: server.exit_code(*curl(4000)) == 0)
    server.sh("touch /run/broken")
    assert server.exit_code(*curl(4000)) == 22
    server.sh("rm /run/broken")
    assert server.exit_code(*curl(4000)) == 0


def test_a_start_delay_delays_and_does_not_delay_the_stop(run: Run) -> None:
    server = run("n8n", environment={"STANDIN_START_DELAY": "60"})
    server.wait_until("started", lambda: "listening in 60 s" in server.logs())
    assert server.exit_code(*curl(5678)) == 7
    server.container.stop(timeout=120)
    assert server.container.wait()["StatusCode"] == 0, "it ended by itself, and wasn't killed"
    assert "stopping on SIGTERM" in server.logs()


def test_without_ports_it_just_runs(run: Run) -> None:
    server = run("jmeter", ["-n", "-t", "plan.jmx"])
    server.wait_until("started", lambda: "no port" in server.logs())


def test_stand_ins_are_labelled_and_real_servers_are_not(engine: object) -> None:
    label = "io.mmstack.lab.stand-in"
    images = engine.images.list(filters={"label": f"{label}=true"})  # type: ignore[attr-defined]
    names = {tag for image in images for tag in image.tags if tag.startswith("mmstack-lab/")}
    assert "mmstack-lab/grafana:lab" in names
    assert not names & {f"mmstack-lab/{name}:lab" for name in ("postgres", "redis", "qdrant")}
