"""What files parse to is kept, and never outlives what it was made from."""

from __future__ import annotations

import importlib
import os
import pickle
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from mmstack_ops.adapters import parse_cache
from mmstack_ops.adapters.environment.templates import TemplateContext, render_lines
from mmstack_ops.adapters.parse_cache import ParseCache
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import RenderError, SchemaError
from mmstack_ops.domain.schema.document import Document, parse_document
from tests.adapters.config_project import make_project

TEXT = "a:\n  b: 1\n"


class Parser:
    """Parses, and counts how often it had to."""

    def __init__(self, text: str = TEXT, source: str = "some.yaml") -> None:
        self.text, self.source, self.calls = text, source, 0

    def __call__(self) -> Document:
        self.calls += 1
        return parse_document(self.text, source=self.source)


@pytest.fixture
def cache(tmp_path: Path) -> ParseCache:
    return ParseCache(tmp_path / "parsed")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path, monkeypatch)


def get(cache: ParseCache, parser: Parser) -> Document:
    return cache.get(parser.source, parser.text, parser)


def kept(tmp_path: Path) -> Path:
    (only,) = (tmp_path / "parsed").iterdir()
    return only


def test_the_same_text_is_parsed_once(cache: ParseCache) -> None:
    parser = Parser()
    first, second = get(cache, parser), get(cache, parser)
    assert parser.calls == 1
    assert first == second == parser()
    assert second.place(("a", "b")) == "some.yaml:2"


def test_another_text_and_another_name_are_parsed_anew(cache: ParseCache) -> None:
    get(cache, Parser())
    assert get(cache, Parser("a: 2\n")).data == {"a": 2}
    assert get(cache, Parser(source="other.yaml")).source == "other.yaml"


@pytest.mark.parametrize("changed", ["size", "time", "new"])
def test_other_code_is_another_answer(
    cache: ParseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    code = tmp_path / "domain"
    (code / "schema").mkdir(parents=True)
    module = code / "schema" / "rules.py"
    module.write_text("A = 1\n")
    monkeypatch.setattr(parse_cache, "_CODE", (code,))
    # As in a new process each time.
    monkeypatch.setattr(parse_cache, "_edition", parse_cache._edition.__wrapped__)
    parser = Parser()
    get(cache, parser)
    get(cache, parser)
    assert parser.calls == 1
    seen = module.stat()
    if changed == "size":
        module.write_text("A = 10\n")
        os.utime(module, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    elif changed == "time":
        os.utime(module, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    else:
        (code / "schema" / "more.py").write_text("")
    get(cache, parser)
    assert parser.calls == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "nothing but the key"])
def test_a_damaged_cache_costs_a_parse_and_is_mended(
    cache: ParseCache, tmp_path: Path, damage: str
) -> None:
    parser = Parser()
    whole = get(cache, parser)
    path = kept(tmp_path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-5],
            "flipped": content[:40] + bytes([content[40] ^ 0xFF]) + content[41:],
            "empty": b"",
            "nothing but the key": content[:32],
        }[damage]
    )
    assert get(cache, parser) == whole
    assert parser.calls == 2
    assert get(cache, parser) == whole
    assert parser.calls == 2


def calling(module: str, name: str) -> bytes:
    """Return a pickle that calls ``module.name("planted")``."""
    text = [f"\x8c{chr(len(word))}{word}".encode("latin1") for word in (module, name, "planted")]
    return b"\x80\x05" + text[0] + text[1] + b"\x93" + text[2] + b"\x85R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "mkdir"),
        ("mmstack_ops.domain.schema.json_schema", "inspect.os.mkdir"),
        ("mmstack_ops.domain.schema.parse", "parse_schema"),
        ("mmstack_ops.domain.schema.json_schema", "nothing"),
    ],
)
def test_a_planted_pickle_runs_nothing(
    cache: ParseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = Parser()
    cache.keep(parser.source, parser.text, calling(module, name))
    assert get(cache, parser) == parser()
    assert not (tmp_path / "planted").exists()


def test_the_planted_pickles_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    importlib.import_module("mmstack_ops.domain.schema.json_schema")
    pickle.loads(calling("mmstack_ops.domain.schema.json_schema", "inspect.os.mkdir"))
    assert (tmp_path / "planted").is_dir()


def test_what_others_may_write_is_not_read(cache: ParseCache, tmp_path: Path) -> None:
    parser = Parser()
    get(cache, parser)
    kept(tmp_path).chmod(0o620)
    get(cache, parser)
    assert parser.calls == 2


def test_it_is_private(cache: ParseCache, tmp_path: Path) -> None:
    get(cache, Parser())
    assert (tmp_path / "parsed").stat().st_mode & 0o777 == 0o700
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600


def test_reading_makes_no_state_where_there_is_none(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert get(ParseCache(state / "parsed"), Parser()).data == {"a": {"b": 1}}
    assert not state.exists()


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "parsed").write_text("a file where the folder should be")
    assert get(ParseCache(tmp_path / "parsed"), Parser()).data == {"a": {"b": 1}}


def test_what_is_not_valid_is_not_kept(cache: ParseCache, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(SchemaError, match=r"some\.yaml:2: a: the key is given twice"):
            get(cache, Parser("a: 1\na: 2\n"))
    assert not (tmp_path / "parsed").exists()


def test_a_schema_from_the_cache_is_the_schema(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.state.mkdir(exist_ok=True)
    parsed = replace(project).load_schema()
    monkeypatch.setattr("mmstack_ops.domain.schema.parse.parse_schema", None)
    recalled = replace(project).load_schema()
    assert recalled is not parsed
    assert recalled == parsed
    assert recalled.model_dump() == parsed.model_dump()


def test_a_schema_that_was_edited_is_read_anew(project: Project) -> None:
    project.state.mkdir(exist_ok=True)
    replace(project).load_schema()
    text = project.schema_path.read_text(encoding="utf-8")
    project.schema_path.write_text(text.replace("services:", "servces:", 1), encoding="utf-8")
    with pytest.raises(SchemaError, match="did you mean"):
        replace(project).load_schema()


def rendered(folder: Path, cache: ParseCache) -> list[str]:
    context = TemplateContext("development", "INFO", "UTC", {"key": "se'cret"}, {})
    return render_lines(folder, "some", context, cache)


def test_templates_are_compiled_once(
    cache: ParseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "some.env.j2"
    template.write_text("A={{ environment }}\nB={{ secret('key') }}\n")
    first = rendered(tmp_path, cache)
    assert b"se'cret" not in kept(tmp_path).read_bytes()
    compiled = jinja2.Environment._compile
    calls: list[str] = []

    def count(self: jinja2.Environment, source: str, filename: str) -> object:
        calls.append(filename)
        return compiled(self, source, filename)

    monkeypatch.setattr(jinja2.Environment, "_compile", count)
    assert rendered(tmp_path, cache) == first
    assert calls == []
    template.write_text("A={{ timezone }}\n")
    assert rendered(tmp_path, cache) == ["A='UTC'", ""]
    assert len(calls) == 1


def test_a_kept_template_still_tells_its_place(cache: ParseCache, tmp_path: Path) -> None:
    (tmp_path / "some.env.j2").write_text("A=1\nB={{ nonsense }}\n")
    for _ in range(2):
        with pytest.raises(RenderError, match=r"some\.env\.j2:2: unknown variable 'nonsense'"):
            rendered(tmp_path, cache)
