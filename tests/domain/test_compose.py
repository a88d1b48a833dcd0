"""Generated Compose files: valid, complete, the same each time, without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmstack_ops.domain.catalogue.resolve import Catalogue, resolve
from mmstack_ops.domain.compose.render import (
    ComposeContext,
    render_environment,
    render_stack,
)
from mmstack_ops.domain.compose.text import duration, literal, size
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.root import Schema

FILE = Path(__file__).resolve().parents[2] / "schemas" / "compose-schema.yaml"
CONTEXT = ComposeContext(project_root="/srv/project", secret_directory="/srv/state/secrets")


@pytest.fixture(scope="module")
def schema() -> Schema:
    return parse_schema(FILE.read_text(encoding="utf-8"), source=FILE.name)


@pytest.fixture(scope="module")
def production(schema: Schema) -> Catalogue:
    return resolve(schema, "production")


def small(service: str, *, top: str = "") -> Catalogue:
    """Return a catalogue of one service, `app`, whose keys are ``service``."""
    lines = "\n".join(f"    {line}" for line in service.strip().split("\n"))
    text = f"""\
config:
  schema_version: 1
  project: p
  address_plan: a
  address_plans: {{a: {{subnets: {{n: 10.0.0.0/24}}}}}}
networks: {{n: {{name: n-net}}}}
volumes: {{v: {{}}}}
stacks: {{s: {{network: n, services: [app]}}}}
services:
  app:
    description: One.
{lines}
environments:
  dev:
    alias: d
    stacks: [s]
    schedules_running: false
    credential_rules: lenient
    backup: {{cron: 0 0 * * *, tiers: []}}
    retention: {{cron: 0 0 * * *, default: 1d}}
backup: {{tiers: {{}}}}
retention: {{}}
security: {{secrets: {{s: {{description: x}}}}}}
{top}"""
    return resolve(parse_schema(text, source="small.yaml"), "dev")


IMAGE = "image: {variable: APP_IMAGE, default: 'app:1'}"


def app(service: str, context: ComposeContext = CONTEXT) -> dict[str, Any]:
    document = render_stack(small(service), "s", context)
    result: dict[str, Any] = document["services"]["app"]
    return result


def test_same_input_same_output(schema: Schema) -> None:
    for environment in schema.environments:
        first = json.dumps(render_environment(resolve(schema, environment), CONTEXT))
        assert first == json.dumps(render_environment(resolve(schema, environment), CONTEXT))


def test_stack_file_owns_its_network_and_volumes_only(production: Catalogue) -> None:
    document = render_stack(production, "inference", CONTEXT)
    assert document["networks"] == {
        "inference": {
            "name": "multimodal-inference-net",
            "driver": "bridge",
            "ipam": {"config": [{"subnet": "172.31.0.0/24"}]},
        },
        "core": {"name": "multimodal-core-net", "external": True},
    }
    assert document["volumes"] == {
        "vllm_cache": {"name": "multimodal-production-inference_vllm_cache"}
    }
    monitoring = render_stack(production, "monitoring", CONTEXT)
    assert monitoring["volumes"]["app_logs"] == {
        "name": "multimodal-production-ai_app_logs",
        "external": True,
    }


def test_stack_file_waits_only_for_services_of_the_stack(production: Catalogue) -> None:
    services = render_stack(production, "ui", CONTEXT)["services"]
    assert "depends_on" not in services["openwebui"]
    assert services["n8n-monitoring"]["depends_on"] == {"n8n": {"condition": "service_healthy"}}
    assert services["nginx"]["depends_on"] == {
        "openwebui": {"condition": "service_started"},
        "n8n": {"condition": "service_started"},
    }


def test_environment_file_holds_what_the_environment_starts(production: Catalogue) -> None:
    document = render_environment(production, CONTEXT)
    assert set(document["services"]) == set(production.started)
    assert document["services"]["openwebui"]["depends_on"] == {
        "retrieval-proxy": {"condition": "service_healthy"}
    }
    assert not any(network.get("external") for network in document["networks"].values())
    assert not any(volume.get("external") for volume in document["volumes"].values())


def test_replicas_ports_and_limits_of_production(production: Catalogue) -> None:
    services = render_environment(production, CONTEXT)["services"]
    assert services["multimodal-worker"]["deploy"] == {"replicas": 3}
    assert services["multimodal-worker"]["ports"] == ["127.0.0.1:8101-8103:8001"]
    assert services["litellm"]["ports"] == ["127.0.0.1:4000-4001:4000"]
    assert services["postgres"]["deploy"] == {
        "resources": {
            "limits": {"cpus": "2", "memory": "4G"},
            "reservations": {"cpus": "1", "memory": "2G"},
        }
    }


def test_gpus_are_reserved_on_request_only(production: Catalogue) -> None:
    context = ComposeContext(project_root="/p", secret_directory="/s", gpu=True)
    with_gpu = render_environment(production, context)["services"]
    assert with_gpu["vllm"]["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "capabilities": ["gpu"], "count": "all"}
    ]
    assert with_gpu["multimodal-worker"]["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "capabilities": ["gpu"], "count": 1}
    ]
    assert "deploy" not in render_environment(production, CONTEXT)["services"]["vllm"]


def test_secrets_are_files_of_the_service(production: Catalogue) -> None:
    document = render_stack(production, "core", CONTEXT)
    assert document["services"]["redis"]["secrets"] == [
        {"source": "redis_redis_password", "target": "redis_password"}
    ]
    assert document["secrets"]["redis_redis_password"] == {
        "file": "/srv/state/secrets/redis/redis_password"
    }


def test_variables_stay_references(production: Catalogue) -> None:
    services = render_environment(production, CONTEXT)["services"]
    assert services["postgres"]["environment"]["POSTGRES_DB"] == "${POSTGRES_DB}"
    assert services["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:16-alpine}"


OWN = """\
image:
  variable: APP_IMAGE
  build: {context_variable: APP_CONTEXT, args: {A: "$1"}, target: final}
"""


def test_own_image_is_required() -> None:
    assert app(OWN)["image"] == (
        "${APP_IMAGE:?set APP_IMAGE to an image or APP_CONTEXT to a folder with a Dockerfile}"
    )
    assert "build" not in app(OWN)


def test_own_image_is_built_where_a_context_is_set() -> None:
    context = ComposeContext(
        project_root="/p", secret_directory="/s", variables={"APP_CONTEXT": "../app"}
    )
    rendered = app(OWN, context)
    assert rendered["image"] == "${APP_IMAGE:-mmstack/app:built}"
    assert rendered["build"] == {
        "context": "${APP_CONTEXT}",
        "dockerfile": "Dockerfile",
        "args": {"A": "$$1"},
        "target": "final",
    }


def test_image_override_wins() -> None:
    context = ComposeContext(
        project_root="/p",
        secret_directory="/s",
        image_overrides={"app": "lab/app:1"},
        variables={"APP_CONTEXT": "../app"},
    )
    rendered = app(OWN, context)
    assert rendered["image"] == "lab/app:1"
    assert "build" not in rendered


def test_dollar_signs_mean_in_compose_what_they_mean_here() -> None:
    rendered = app(
        f"""\
{IMAGE}
command: [echo, "$(date) $$HOME $HOME ${{X:-y}}"]
environment: {{A: "$B ${{C}} $$D"}}
labels: {{price: "$5 ${{X}}"}}
healthcheck: {{test: [CMD-SHELL, 'test "$A" = "${{B}}"']}}
"""
    )
    assert rendered["command"] == ["echo", "$$(date) $$HOME $$HOME ${X:-y}"]
    assert rendered["environment"] == {"A": "$$B ${C} $$D"}
    assert rendered["labels"] == {"price": "$$5 $${X}"}
    assert rendered["healthcheck"]["test"] == ["CMD-SHELL", 'test "$$A" = "$${B}"']


def test_every_other_key() -> None:
    rendered = app(
        f"""\
{IMAGE}
command: []
entrypoint: [sleep, "9"]
user: "1000:1000"
working_dir: /app
hostname: host
container_name: fixed
ports:
  - {{name: a, container: 80, host: 8080, bind: 0.0.0.0}}
  - {{name: b, container: 53, host: 5353, protocol: udp}}
  - {{name: v, container: 80, host: 8080-8081, bind: "[::1]"}}
  - {{name: w, container: 53, host: 53, bind: "::", protocol: udp}}
  - {{name: c, container: 81}}
  - {{name: d, container: 82, protocol: udp}}
mounts:
  - {{target: /v, volume: v}}
  - {{target: /b, bind: conf/../x, read_only: true}}
  - {{target: /h, bind: /host}}
  - {{target: /e, bind: "${{DIR}}/x"}}
  - {{target: /n, bind: "conf/${{A:-${{B}}/../x}}/y"}}
  - {{target: /t, tmpfs: 64M}}
restart: "no"
profiles: [debug]
init: true
privileged: true
read_only: true
tmpfs: [/run]
cap_add: [NET_ADMIN]
sysctls: {{net.core.somaxconn: "1024"}}
ulimits: {{nofile: 65535}}
extra_hosts: {{db: 10.0.0.1}}
shm_size: 64M
stop_signal: SIGINT
stop_grace_period: 1m30s
resources: {{pids: 100}}
"""
    )
    assert rendered == {
        "image": "${APP_IMAGE:-app:1}",
        "container_name": "fixed",
        "user": "1000:1000",
        "working_dir": "/app",
        "hostname": "host",
        "stop_signal": "SIGINT",
        "entrypoint": ["sleep", "9"],
        "command": [],
        "ports": [
            "0.0.0.0:8080:80",
            "127.0.0.1:5353:53/udp",
            "[::1]:8080-8081:80",
            "[::]:53:53/udp",
        ],
        "expose": ["81", "82/udp"],
        "volumes": [
            {"type": "volume", "source": "v", "target": "/v"},
            {"type": "bind", "source": "/srv/project/x", "target": "/b", "read_only": True},
            {"type": "bind", "source": "/host", "target": "/h"},
            {"type": "bind", "source": "${DIR}/x", "target": "/e"},
            {"type": "bind", "source": "/srv/project/conf/${A:-${B}/../x}/y", "target": "/n"},
            {"type": "tmpfs", "tmpfs": {"size": 64 * 1024**2}, "target": "/t"},
        ],
        "networks": ["n"],
        "pids_limit": 100,
        "restart": "no",
        "profiles": ["debug"],
        "init": True,
        "privileged": True,
        "read_only": True,
        "tmpfs": ["/run"],
        "cap_add": ["NET_ADMIN"],
        "sysctls": {"net.core.somaxconn": "1024"},
        "extra_hosts": {"db": "10.0.0.1"},
        "ulimits": {"nofile": 65535},
        "shm_size": "64M",
        "stop_grace_period": "90s",
    }


@given(st.text(max_size=20))
def test_literal_doubles_every_dollar_sign(text: str) -> None:
    assert literal(text).count("$") == 2 * text.count("$")


def test_texts_of_amounts() -> None:
    assert [duration(s) for s in (0.5, 1, 90, 1.001)] == ["500ms", "1s", "90s", "1001ms"]
    assert [size(n) for n in (512 * 1024**2, 4 * 1024**3, 1000, 2048)] == [
        "512M", "4G", "1000b", "2K",
    ]  # fmt: skip
