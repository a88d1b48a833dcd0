"""Make targets, CI definitions and the lock say the same thing as the program."""

from __future__ import annotations

import re
import subprocess
import tomllib
from itertools import product
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]

STACKS = ("core", "inference", "ai", "ui", "testing", "monitoring")
ENVIRONMENTS = ("dev", "staging", "prod", "testing-env")
SURFACE = {
    *("setup", "demo", "test", "test-soak", "detect-gpu", "system-status"),
    *(f"{verb}-{name}" for verb, name in product(("start", "stop"), ENVIRONMENTS)),
    *(
        f"{verb}-{stack}"
        for verb, stack in product(("start", "stop", "restart", "status", "logs", "wipe"), STACKS)
    ),
    *("rebuild-ai", "start-ai-gpu", "start-inference-gpu"),
    *("check-network-conflicts", "validate-networks", "check-network-health"),
    *("cleanup-networks", "retention-status", "retention-cleanup", "retention-test"),
    *("backup-status", "backup-full", "backup-service", "backup-list", "restore", "verify"),
    *("backup-copy", "drill", "hold", "unhold", "accept", "export"),
    *("wipe-db", "wipe-cache", "wipe-models", "wipe-logs", "wipe-test-results", "wipe-dev"),
    *("wipe-staging", "wipe-prod", "wipe-testing-env", "validate-schema", "validate-security"),
    *(f"validate-credentials-{name}" for name in ("dev", "staging", "prod", "testing")),
    *(f"setup-secrets-{name}" for name in ("dev", "staging", "prod", "testing")),
    *("generate-compose", "rotate-secrets", "lab-up", "lab-down"),
    *("test-unit", "test-integration", "test-api", "test-allure", "test-jmeter"),
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def listed_targets() -> set[str]:
    """Return the targets `make help` prints, with braces written out."""
    found: set[str] = set()
    for line in make("help").stdout.splitlines():
        for word in re.findall(r"(?<=\s)[a-z][a-z-]*(?:\{[a-z,-]+\}[a-z-]*)?(?=\s|$)", f" {line}"):
            head, brace, rest = word.partition("{")
            names, _, tail = rest.partition("}")
            found |= {head + name + tail for name in names.split(",")} if brace else {word}
    return found


def test_help_lists_the_whole_surface() -> None:
    assert listed_targets() >= SURFACE


@pytest.mark.parametrize("target", sorted(SURFACE))
def test_every_listed_target_exists(target: str) -> None:
    # Exit 1 or 0 says whether it would do something; 2 that make has no rule for it.
    done = make("--question", target)
    assert "No rule to make target" not in done.stderr


def test_a_later_verb_says_so_and_exits_2() -> None:
    done = make("validate-security")
    assert done.returncode == 2
    assert "not in this version yet" in done.stderr


@pytest.mark.parametrize(
    ("target", "variables", "command"),
    [
        ("backup-full", [], "-e staging backup run"),
        ("backup-service", ["SERVICE=redis", "TYPE=rdb"], "-e staging backup run redis --type rdb"),
        ("verify", ["SERVICE=redis", "TIER=cloud"], "-e staging verify redis --tier cloud"),
        ("retention-test", ["SERVICE=redis"], "-e staging retention test redis"),
        ("retention-cleanup", ["TIER=local", "YES=1"], "retention cleanup --tier local --yes"),
        ("restore", ["SERVICE=redis", "SCRATCH=1"], "-e staging restore redis --into-scratch"),
        ("wipe-core", ["PLAN=1"], "-e staging wipe core --plan"),
        ("wipe-db", ["CONFIRM=staging/db"], "-e staging wipe db --confirm staging/db"),
        # The stack and the environment of the same name.
        ("wipe-testing", ["YES=1"], "-e staging wipe testing --yes"),
        ("wipe-testing-env", ["YES=1"], "-e testing-env wipe environment --yes"),
        (
            "hold",
            ["BACKUP=a/b/c/d", "REASON=the audit"],
            '-e staging hold a/b/c/d --reason "the audit"',
        ),
    ],
)
def test_targets_of_backups_are_verbs(target: str, variables: list[str], command: str) -> None:
    done = make("--dry-run", target, "ENVIRONMENT=staging", *variables)
    assert command in " ".join(done.stdout.replace("\\\n", " ").split())


@pytest.mark.parametrize(
    "target", ["backup-service", "restore", "hold", "unhold", "accept", "export"]
)
def test_targets_say_what_they_need_before_anything_is_done(target: str) -> None:
    done = make(target)
    assert done.returncode == 2
    assert f"{target} needs " in done.stderr


def test_targets_name_environments_the_schema_knows() -> None:
    schema = yaml.safe_load((REPOSITORY / "schemas" / "compose-schema.yaml").read_text())
    known = set(schema["environments"])
    known |= {settings["alias"] for settings in schema["environments"].values()}
    assert {*ENVIRONMENTS, "dev", "staging", "prod", "testing"} <= known
    assert set(schema["stacks"]) == set(STACKS)


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".gitlab-ci.yml", "Jenkinsfile"])
def test_every_ci_system_runs_the_same_command(path: str) -> None:
    assert "bash .ci/run" in (REPOSITORY / path).read_text()


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_ci_definitions_are_valid_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((REPOSITORY / path).read_text()), dict)


def test_the_lock_pins_every_dependency_and_no_place() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in ("test", "lint", "production"):
        wanted += project["optional-dependencies"][extra]
    names = {normal(re.split(r"[\[><=~! ]", line)[0]) for line in wanted}
    lines = [
        line
        for line in (REPOSITORY / "requirements.lock").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.match(r"^[A-Za-z0-9._-]+==[^ /@]+( ; .+)?$", line) for line in lines)
    assert names <= {normal(line.split("==")[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
