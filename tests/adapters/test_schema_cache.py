"""The schema is kept as JSON, and never outlives what it was made from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters import schema_cache
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema import parse
from mmstack_ops.domain.schema.root import Schema
from tests.adapters.config_project import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tmp_path, monkeypatch)
    made.state.mkdir(exist_ok=True)
    return made


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were parsed."""
    sources: list[str] = []
    parse_schema = parse.parse_schema

    def counted(text: str, *, source: str) -> Schema:
        sources.append(source)
        return parse_schema(text, source=source)

    monkeypatch.setattr(parse, "parse_schema", counted)
    return sources


def load(project: Project) -> Schema:
    """Load the schema as a new process does."""
    return replace(project).load_schema()


def cached(project: Project) -> Path:
    return project.state / ".cache" / "schema.json"


def test_the_same_text_is_parsed_once_and_gives_the_same_schema(
    project: Project, parsed: list[str]
) -> None:
    first, second = load(project), load(project)
    assert len(parsed) == 1
    assert second is not first
    assert second == first
    assert second.model_dump() == first.model_dump()


def test_a_schema_that_was_edited_is_parsed_again(project: Project, parsed: list[str]) -> None:
    load(project)
    text = project.schema_path.read_text(encoding="utf-8")
    project.schema_path.write_text(f"{text}# a comment\n", encoding="utf-8")
    load(project)
    assert len(parsed) == 2
    project.schema_path.write_text(text.replace("services:", "servces:", 1), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(SchemaError, match="did you mean"):
            load(project)


@pytest.mark.parametrize("changed", ["size", "time", "new"])
def test_other_code_parses_again(
    project: Project,
    parsed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
) -> None:
    code = tmp_path / "domain"
    (code / "schema").mkdir(parents=True)
    module = code / "schema" / "rules.py"
    module.write_text("A = 1\n")
    monkeypatch.setattr(schema_cache, "_DOMAIN", code)
    # As in a new process each time.
    monkeypatch.setattr(schema_cache, "_code", schema_cache._code.__wrapped__)
    load(project)
    load(project)
    assert len(parsed) == 1
    seen = module.stat()
    if changed == "size":
        module.write_text("A = 10\n")
        os.utime(module, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    elif changed == "time":
        os.utime(module, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    else:
        (code / "schema" / "more.py").write_text("")
    load(project)
    assert len(parsed) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "nothing but the key"])
def test_a_damaged_cache_costs_a_parse_and_is_written_again(
    project: Project, parsed: list[str], damage: str
) -> None:
    whole = load(project)
    content = cached(project).read_bytes()
    cached(project).write_bytes(
        {
            "cut": content[:-5],
            "flipped": content[:-2] + bytes([content[-2] ^ 0x01]) + content[-1:],
            "empty": b"",
            "nothing but the key": content.partition(b"\n")[0],
        }[damage]
    )
    assert load(project) == whole
    assert len(parsed) == 2
    load(project)
    assert len(parsed) == 2


def test_a_cache_that_others_may_write_is_not_read(project: Project, parsed: list[str]) -> None:
    load(project)
    cached(project).chmod(0o620)
    load(project)
    assert len(parsed) == 2


def test_it_is_private(project: Project) -> None:
    load(project)
    assert cached(project).parent.stat().st_mode & 0o777 == 0o700
    assert cached(project).stat().st_mode & 0o777 == 0o600


def test_reading_makes_no_state_where_there_is_none(project: Project) -> None:
    project.state.rmdir()
    load(project)
    assert not project.state.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(project: Project) -> None:
    cached(project).parent.write_text("a file where the folder should be")
    assert load(project).services
