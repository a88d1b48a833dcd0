"""Secrets and generated files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import yaml

from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.secrets.store import read_store
from tests.cli.conftest import Mmstack


def secret_values(project: Project) -> list[str]:
    store = read_store(project, "development")
    assert store is not None
    return [secret.value for secret in store.secrets.values()]


def test_secrets_are_generated_once_and_never_shown(project: Project, mmstack: Mmstack) -> None:
    first = mmstack("secrets", "generate")
    before = secret_values(project)
    second = mmstack("secrets", "generate", "--json")
    named = mmstack("secrets", "show-names")
    assert secret_values(project) == before
    assert second.document == {"environment": "development", "added": []}
    assert "postgres_password" in named.stdout
    shown = first.stdout + first.stderr + second.stdout + named.stdout + named.stderr
    assert not [value for value in before if value in shown]


def test_show_names_tells_what_is_missing(mmstack: Mmstack) -> None:
    names = mmstack("secrets", "show-names", "--json").document["secrets"]
    assert {name["present"] for name in names} == {False}
    assert all("value" not in name for name in names)


def test_render_env_writes_a_private_file_and_prints_names_only(
    project: Project, mmstack: Mmstack
) -> None:
    mmstack("secrets", "generate")
    finished = mmstack("render", "env", "--json")
    path = Path(finished.document["file"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "POSTGRES_USER" in finished.document["variables"]
    assert not [value for value in secret_values(project) if value in finished.stdout]


def test_render_compose_writes_one_file_a_stack(mmstack: Mmstack) -> None:
    files = [Path(name) for name in mmstack("render", "compose", "--json").document["files"]]
    assert {"core.yaml", "monitoring.yaml", "environment.yaml"} <= {path.name for path in files}
    printed = mmstack("render", "compose", "core").stdout
    assert printed == next(path for path in files if path.name == "core.yaml").read_text()
    assert "postgres" in yaml.safe_load(printed)["services"]


def test_the_json_schema_stands_beside_the_schema(mmstack: Mmstack) -> None:
    finished = mmstack("render", "json-schema")
    assert finished.exit_code == 0
    path = Path(finished.stdout.strip())
    assert path.name == "compose-schema.schema.json"
    assert json.loads(path.read_text())["type"] == "object"
