"""A required variable that has no value is told with its message, and where it is asked for."""

from __future__ import annotations

import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.secrets.store import generate
from tests.cli.conftest import Mmstack

SERVICE = "environments:\n  development:\n"


def line_of(project: Project, marked: str) -> int:
    lines = project.schema_path.read_text().split("\n")
    return next(number for number, line in enumerate(lines, start=1) if marked in line)


def change(project: Project, old: str, new: str) -> None:
    text = project.schema_path.read_text()
    assert old in text
    project.schema_path.write_text(text.replace(old, new, 1))
    generate(project, project.catalogue("development"))


@pytest.mark.parametrize("written", ["${MARKED:?set the mark}", "${MARKED?set the mark}"])
def test_in_a_service(project: Project, mmstack: Mmstack, written: str) -> None:
    change(project, "      POSTGRES_DB: ", f"      MARK: '{written}'\n      POSTGRES_DB: ")
    finished = mmstack("plan", "postgres")
    assert finished.exit_code == 1
    place = f"schemas/compose-schema.yaml:{line_of(project, 'MARKED')}"
    assert f"{place}: services.postgres.environment.MARK refers" in finished.stderr
    assert "why: set the mark" in finished.stderr


def test_in_a_nested_default_of_a_command(project: Project, mmstack: Mmstack) -> None:
    change(project, "    ports:\n", "    command: [a, '${ONE:-${MARKED:?set it}}']\n    ports:\n")
    finished = mmstack("plan", "postgres")
    assert finished.exit_code == 1
    assert f":{line_of(project, 'MARKED')}: services.postgres.command[1] refers" in finished.stderr
    assert "why: set it" in finished.stderr


def test_in_an_override_of_the_environment(project: Project, mmstack: Mmstack) -> None:
    override = "    overrides: {postgres: {environment: {MARK: '${MARKED:?set it}'}}}\n"
    change(project, SERVICE, SERVICE + override)
    finished = mmstack("plan", "postgres")
    assert finished.exit_code == 1
    path = "environments.development.overrides.postgres.environment.MARK"
    assert f":{line_of(project, 'MARKED')}: {path} refers" in finished.stderr


def test_in_the_location_of_a_tier(project: Project, mmstack: Mmstack) -> None:
    change(project, "location: ${BACKUP_LOCAL_PATH}", "location: ${MARKED:?set it}")
    finished = mmstack("backup", "tiers")
    assert finished.exit_code == 1
    place = f":{line_of(project, 'MARKED')}: backup.tiers.local.location refers"
    assert place in finished.stderr
