"""The schema the project ships: its numbers, and the rules it promises."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from mmstack_ops.domain.catalogue.resolve import resolve
from mmstack_ops.domain.schema.json_schema import FILE_NAME, json_schema, json_schema_text
from mmstack_ops.domain.schema.parse import parse_schema
from mmstack_ops.domain.schema.root import Schema

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "schemas" / "compose-schema.yaml"

STACKS = {
    "core": ["postgres", "redis", "qdrant", "minio"],
    "inference": ["vllm", "litellm"],
    "ai": [
        "multimodal-worker", "retrieval-proxy", "ai-agents",
        "memory-system", "search-engine", "user-management",
    ],
    "ui": ["openwebui", "n8n", "n8n-monitoring", "nginx"],
    "testing": ["allure-results", "allure-report", "allure-cli", "jmeter"],
    "monitoring": ["prometheus", "grafana", "elasticsearch", "kibana", "logstash", "filebeat"],
}  # fmt: skip
DEPENDS_ON = {
    "core": [],
    "inference": ["core"],
    "ai": ["core", "inference"],
    "ui": ["core", "ai"],
    "testing": ["core"],
    "monitoring": ["core"],
}
PUBLISHED = {
    "postgres": {5432: 5432}, "redis": {6379: 6379}, "qdrant": {6333: 6333, 6334: 6334},
    "minio": {9000: 9000, 9002: 9001}, "vllm": {8000: 8000}, "litellm": {4000: 4000},
    "multimodal-worker": {8001: 8001}, "retrieval-proxy": {8002: 8002}, "ai-agents": {8003: 8003},
    "search-engine": {8004: 8004}, "memory-system": {8005: 8005}, "user-management": {8006: 8006},
    "n8n-monitoring": {8008: 8008}, "openwebui": {3030: 8080}, "n8n": {5678: 5678},
    "nginx": {80: 80, 443: 443}, "grafana": {3000: 3000}, "prometheus": {9090: 9090},
    "elasticsearch": {9200: 9200, 9300: 9300}, "kibana": {5601: 5601}, "logstash": {5044: 5044},
}  # fmt: skip
OWN_IMAGES = {*STACKS["ai"], "n8n-monitoring"}


@pytest.fixture(scope="module")
def schema() -> Schema:
    return parse_schema(FILE.read_text(encoding="utf-8"), source=FILE.name)


def test_stacks_and_their_services(schema: Schema) -> None:
    assert {name: stack.services for name, stack in schema.stacks.items()} == STACKS
    assert {name: stack.depends_on for name, stack in schema.stacks.items()} == DEPENDS_ON
    assert len(schema.services) == 26


def test_published_ports(schema: Schema) -> None:
    published = {
        name: {port.host[0]: port.container for port in service.ports if port.host is not None}
        for name, service in schema.services.items()
    }
    assert {name: published[name] for name in PUBLISHED} == PUBLISHED


def test_networks_and_address_plans(schema: Schema) -> None:
    assert schema.config.address_plan == "operator"
    plans = schema.config.address_plans
    for index, stack in enumerate(STACKS):
        assert schema.networks[schema.stacks[stack].network].name == f"multimodal-{stack}-net"
        assert plans["operator"].subnets[stack] == f"172.{30 + index}.0.0/24"
        assert plans["private"].subnets[stack] == f"10.{130 + index}.0.0/24"


def test_address_plans_have_nothing_in_common(schema: Schema) -> None:
    every = [
        ipaddress.ip_network(subnet)
        for plan in schema.config.address_plans.values()
        for subnet in plan.subnets.values()
    ]
    assert len(every) == 18
    assert not any(a.overlaps(b) for i, a in enumerate(every) for b in every[i + 1 :])


ENVIRONMENTS = {
    "development": (
        {*STACKS["core"], *STACKS["inference"], "multimodal-worker", "retrieval-proxy"},
        "DEBUG", False, "lenient", "0 2 * * *", ["local", "remote"],
        "0 1 * * *", 7, (30, 1, 60, 90),
    ),
    "staging": (
        {*STACKS["core"], *STACKS["inference"], *STACKS["ai"], *STACKS["ui"]},
        "INFO", True, "strict", "0 3 * * *", ["local", "remote", "cloud"],
        "0 2 * * *", 14, (60, 3, 90, 120),
    ),
    "production": (
        {*STACKS["core"], *STACKS["inference"], *STACKS["ai"], *STACKS["ui"],
         *STACKS["monitoring"]},
        "WARN", True, "strict", "0 1 * * *", ["local", "remote", "cloud", "tape"],
        "0 3 * * 0", 90, (365, 7, 365, 730),
    ),
    "testing": (
        {*STACKS["core"], *STACKS["testing"]},
        "INFO", False, "lenient", "0 4 * * *", ["local"],
        "0 0 * * *", 3, (3, 1, 3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments(schema: Schema, name: str) -> None:
    started, level, running, rules, backup, tiers, cleanup, default, days = ENVIRONMENTS[name]
    environment = schema.environments[name]
    assert set(resolve(schema, name).started) == started
    assert environment.log_level == level
    assert environment.schedules_running is running
    assert environment.credential_rules == rules
    assert (environment.backup.cron, environment.backup.tiers) == (backup, tiers)
    assert (environment.retention.cron, environment.retention.default) == (cleanup, default * 86400)
    assert environment.retention.services == {
        service: count * 86400
        for service, count in zip(("postgres", "redis", "qdrant", "minio"), days, strict=True)
    }


def test_production_replicas_and_limits(schema: Schema) -> None:
    services = resolve(schema, "production").services
    replicas = {n: e.definition.replicas for n, e in services.items() if e.definition.replicas > 1}
    assert replicas == {"multimodal-worker": 3, "retrieval-proxy": 3, "litellm": 2}
    gib = 1024**3

    def limits(name: str) -> tuple[int | None, float | None]:
        amount = services[name].definition.resources.limits
        return amount.memory, amount.cpus

    assert {name: limits(name) for name in services if limits(name) != (None, None)} == {
        "postgres": (4 * gib, 2),
        "redis": (gib, 1),
        "elasticsearch": (4 * gib, 2),
        "kibana": (2 * gib, 1),
        "logstash": (2 * gib, 1),
        "filebeat": (gib // 2, 0.5),
    }
    reserved = services["postgres"].definition.resources.reservations
    assert (reserved.memory, reserved.cpus) == (2 * gib, 1)
    reserved = services["redis"].definition.resources.reservations
    assert (reserved.memory, reserved.cpus) == (gib // 2, 0.5)


def test_tiers(schema: Schema) -> None:
    tiers = {
        name: (tier.kind, tier.quota, tier.retention / 86400, tier.after)
        for name, tier in schema.backup.tiers.items()
    }
    assert tiers == {
        "local": ("directory", 100 * 1000**3, 7, None),
        "remote": ("mount", 1000**4, 30, "local"),
        "cloud": ("s3", 10 * 1000**4, 90, "remote"),
        "tape": ("tape", None, 365, "cloud"),
    }


def test_own_images_come_from_a_variable_or_a_build(schema: Schema) -> None:
    for name, service in schema.services.items():
        assert (service.image.default is None) == (name in OWN_IMAGES)
        assert (service.image.build is not None) == (name in OWN_IMAGES)
    variables = [service.image.variable for service in schema.services.values()]
    assert len(set(variables)) == 26


def test_the_object_store_is_a_build_that_is_published_and_maintained(schema: Schema) -> None:
    image = schema.services["minio"].image.default
    assert image == "pgsty/minio:RELEASE.2026-06-18T00-00-00Z"
    fallback = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"
    assert fallback in (ROOT / "docs" / "environments.md").read_text()
    check = schema.services["minio"].healthcheck
    assert check is not None
    assert check.test[:3] == ["CMD", "bash", "-c"], "what every image of it holds"
    assert "curl" not in check.test[3]


def test_every_service_is_hardened_described_and_checked(schema: Schema) -> None:
    for name, service in schema.services.items():
        assert service.healthcheck is not None, name
        assert service.cap_drop == ["ALL"], name
        assert "no-new-privileges:true" in service.security_opt, name
        assert not service.privileged
        assert service.owners, name
        assert service.description.endswith("."), name


def test_openwebui_cannot_reach_the_databases_and_litellm_can(schema: Schema) -> None:
    catalogue = resolve(schema, "production")

    def stacks(name: str) -> set[str]:
        return {network.stack for network in catalogue.networks_of(name)}

    assert stacks("openwebui") == {"ui", "ai"}
    assert stacks("litellm") == {"inference", "core"}
    assert stacks("nginx") == {"ui"}


def test_configuration_files_exist_and_are_read_only(schema: Schema) -> None:
    binds = [m for s in schema.services.values() for m in s.mounts if m.bind is not None]
    assert len(binds) == 7
    for mount in binds:
        assert mount.read_only
        assert (ROOT / str(mount.bind)).is_file(), mount.bind


def test_every_declared_volume_and_secret_is_used(schema: Schema) -> None:
    mounted = {m.volume for s in schema.services.values() for m in s.mounts if m.volume}
    assert mounted == set(schema.volumes)
    templates = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "env-templates").glob("*.j2")
    )
    used = set(re.findall(r"secret\('([a-z0-9_]+)'\)", templates))
    used |= {use.secret for s in schema.services.values() for use in s.secrets}
    assert used == set(schema.security.secrets)


def test_encryption_keys_are_not_rotated_blindly(schema: Schema) -> None:
    kept = {name for name, secret in schema.security.secrets.items() if not secret.rotate}
    assert {"litellm_salt_key", "n8n_encryption_key"} <= kept
    assert "postgres_password" not in kept


def test_json_schema_beside_the_schema_is_current() -> None:
    stored = (FILE.parent / FILE_NAME).read_text(encoding="utf-8")
    assert stored == json_schema_text(), "run `mmstack render json-schema`"


def test_json_schema_accepts_the_schema_and_refuses_unknown_keys() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert list(validator.iter_errors(document)) == []
    document["services"]["postgres"]["prots"] = []
    (error,) = validator.iter_errors(document)
    assert "prots" in error.message


def test_editors_find_the_json_schema() -> None:
    first = FILE.read_text(encoding="utf-8").split("\n", 1)[0]
    assert first == f"# yaml-language-server: $schema=./{FILE_NAME}"
    assert json.loads((FILE.parent / FILE_NAME).read_text(encoding="utf-8"))["title"] == "Schema"
