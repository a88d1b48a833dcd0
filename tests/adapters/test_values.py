from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import dotenv
import pytest

from mmstack_ops.adapters.environment.values import (
    environment_file,
    load_values,
    render_family,
    write_runtime_files,
)
from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.secrets.store import generate
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError, RenderError, SecretError
from tests.adapters.config_project import make_project, write_local

ODD = "p$a#s\"s'w o\\rd"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path, monkeypatch)


@pytest.fixture
def catalogue(project: Project) -> Catalogue:
    result = project.catalogue("development")
    generate(project, result)
    return result


def test_missing_secrets_name_themselves_and_the_remedy(project: Project) -> None:
    with pytest.raises(SecretError, match="environment development lacks secrets") as caught:
        load_values(project, project.catalogue("development"))
    assert "postgres_password" in caught.value.why
    assert caught.value.remedy == "run `mmstack -e development secrets generate`"
    assert not project.state.exists()


def test_reading_writes_nothing(project: Project, catalogue: Catalogue) -> None:
    def seen() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in project.state.rglob("*")}

    before = seen()
    load_values(project, catalogue)
    # What the files parse to is kept, and only that; the second time nothing at all is written.
    parsed = project.state / ".cache"
    first = seen()
    rest = {path: time for path, time in first.items() if not path.is_relative_to(parsed)}
    assert rest == before
    load_values(project, catalogue)
    assert seen() == first


def test_every_variable_the_services_refer_to_has_a_value(
    project: Project, catalogue: Catalogue
) -> None:
    from mmstack_ops.domain.interpolation import references

    values = load_values(project, catalogue)
    texts = [
        text
        for service in catalogue.schema.services.values()
        for text in (*service.environment.values(), *(service.command or ()))
    ]
    texts += [tier.location for tier in catalogue.schema.backup.tiers.values()]
    assert {name for text in texts for name in references(text)} <= set(values.variables)


def test_context_of_the_environment(project: Project) -> None:
    production = project.catalogue("production")
    generate(project, production)
    variables = load_values(project, production).variables
    assert (variables["LOG_LEVEL"], variables["VLLM_LOGGING_LEVEL"]) == ("WARN", "WARNING")
    assert variables["TZ"] == "UTC"


def test_local_values_win_over_schema_and_templates(project: Project, catalogue: Catalogue) -> None:
    text = project.schema_path.read_text()
    project.schema_path.write_text(
        text.replace(
            "    log_level: DEBUG\n",
            "    log_level: DEBUG\n    variables: {POSTGRES_DB: schema, REDIS_MAXMEMORY: 1gb,"
            " EXTRA: schema}\n",
        )
    )
    write_local(project, "development", {"POSTGRES_DB": "local", "MINE": "'it\\'s'"})
    values = load_values(project, project.catalogue("development"))
    assert values.variables["POSTGRES_DB"] == "local"
    assert values.variables["DATABASE_URL"].endswith("@postgres:5432/local")
    assert values.variables["REDIS_MAXMEMORY"] == "1gb"
    assert values.variables["EXTRA"] == "schema"
    assert values.variables["MINE"] == "it's"


def test_environment_of_the_process_plays_no_part(
    project: Project, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_values(project, catalogue).variables
    monkeypatch.setenv("POSTGRES_DB", "leaked")
    monkeypatch.setenv("LOG_LEVEL", "leaked")
    assert load_values(project, catalogue).variables == before


def test_secret_variables(project: Project, catalogue: Catalogue) -> None:
    write_local(project, "development", {"HF_TOKEN": "hf_mine", "MY_API_KEY": "x", "COLOUR": "red"})
    hidden = load_values(project, catalogue).secret_variables
    assert {"DATABASE_URL", "REDIS_PASSWORD", "HF_TOKEN", "MY_API_KEY"} <= hidden
    assert not hidden & {"COLOUR", "POSTGRES_DB", "LOG_LEVEL"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A=two words", r"local\.env:1: the value of A needs single quotes around all of it"),
        ("A=${HOME}", r"local\.env:1: the value of A needs single quotes"),
        ("nonsense", r"local\.env:1: it is not of the form NAME='value'"),
        ("A='end\\\\'", r"local\.env:1: the value of A can't be used: it ends with a backslash"),
    ],
)
def test_bad_local_values_name_the_line_and_not_the_value(
    project: Project, catalogue: Catalogue, line: str, message: str
) -> None:
    path = project.environment_state("development") / "local.env"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=message) as caught:
        load_values(project, catalogue)
    assert "words" not in str(caught.value)


def test_environment_file_is_private_and_reads_back(project: Project, catalogue: Catalogue) -> None:
    write_local(project, "development", {"ODD": "'" + ODD.replace("'", "\\'") + "'"})
    values = load_values(project, catalogue)
    assert values.variables["ODD"] == ODD
    write_runtime_files(project, catalogue, values, [])
    path = environment_file(project, "development")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dotenv.dotenv_values(path) == dict(values.variables)


def test_unchanged_files_stay_untouched(project: Project, catalogue: Catalogue) -> None:
    values = load_values(project, catalogue)
    write_runtime_files(project, catalogue, values, catalogue.services)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in project.state.rglob("*")}
    write_runtime_files(project, catalogue, values, catalogue.services)
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in project.state.rglob("*")} == before


def test_secret_files_of_the_named_services_only(project: Project, catalogue: Catalogue) -> None:
    values = load_values(project, catalogue)
    write_runtime_files(project, catalogue, values, ["redis"])
    folder = project.environment_state("development") / "secrets"
    assert [path.name for path in folder.iterdir()] == ["redis"]
    path = Path(values.secret_file("redis", "redis_password"))
    assert path.is_absolute()
    assert path.read_text() == values.secrets["redis_password"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        assert stat.S_IMODE(path.stat().st_mode) == 0o400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_secret_files_belong_to_the_container_s_user(
    project: Project, catalogue: Catalogue
) -> None:
    values = load_values(project, catalogue)
    write_runtime_files(project, catalogue, values, ["grafana"])
    path = Path(values.secret_file("grafana", "grafana_admin_password"))
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (472, 0o400)


def test_without_root_the_folder_protects_the_files(
    project: Project, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    values = load_values(project, catalogue)
    write_runtime_files(project, catalogue, values, ["grafana"])
    path = Path(values.secret_file("grafana", "grafana_admin_password"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_changed_secret_replaces_the_file(project: Project, catalogue: Catalogue) -> None:
    values = load_values(project, catalogue)
    write_runtime_files(project, catalogue, values, ["redis"])
    rotated = replace(values, secrets={**values.secrets, "redis_password": "another-one"})
    write_runtime_files(project, catalogue, rotated, ["redis"])
    assert Path(values.secret_file("redis", "redis_password")).read_text() == "another-one"


class TestTemplates:
    def put(self, project: Project, text: str, name: str = "core") -> None:
        (project.templates / f"{name}.env.j2").write_text(text)

    def failure(self, project: Project, catalogue: Catalogue) -> RenderError:
        with pytest.raises(RenderError) as caught:
            load_values(project, catalogue)
        return caught.value

    def test_every_family_renders_on_its_own(self, project: Project, catalogue: Catalogue) -> None:
        master = dict(load_values(project, catalogue).variables)
        found: dict[str, str | None] = {}
        for family in ("core", "vllm", "litellm", "ai", "ui", "testing", "monitoring"):
            path = project.root / "family.env"
            path.write_text(render_family(project, catalogue, family))
            values = dotenv.dotenv_values(path)
            assert values, family
            assert not found.keys() & values.keys()
            found |= values
        assert found == master

    def test_unknown_family(self, project: Project, catalogue: Catalogue) -> None:
        with pytest.raises(RenderError, match=r"no template cor\.env\.j2 .*did you mean 'core'"):
            render_family(project, catalogue, "cor")

    def test_undefined_variable(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "# first\nA={{ log_level }}\nB={{ log_leve }}\n")
        assert self.failure(project, catalogue).what == (
            "env-templates/core.env.j2:3: unknown variable 'log_leve'; did you mean 'log_level'?"
        )

    def test_undefined_variable_in_an_expression(
        self, project: Project, catalogue: Catalogue
    ) -> None:
        self.put(project, "A={{ 'x' ~ environmnt }}\n")
        assert self.failure(project, catalogue).what == (
            "env-templates/core.env.j2:1: unknown variable 'environmnt'"
            "; did you mean 'environment'?"
        )

    def test_unknown_secret(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "\nA={{ secret('redis_pasword') }}\n")
        assert self.failure(project, catalogue).what == (
            "env-templates/core.env.j2:2: unknown secret 'redis_pasword'"
            "; did you mean 'redis_password'?"
        )

    def test_syntax_error(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "A={{ log_level }}\n{% if %}\n")
        assert self.failure(project, catalogue).what.startswith("env-templates/core.env.j2:2: ")

    def test_error_at_run_time(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "A={{ log_level }}\nB={{ 1 / 0 }}\n")
        assert self.failure(project, catalogue).what.startswith("env-templates/core.env.j2:2: ")

    def test_value_that_cannot_be_written(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "A={{ 'hunter22\\n' ~ log_level }}\n")
        error = self.failure(project, catalogue)
        assert error.what == (
            "env-templates/core.env.j2:1: the value of A can't be written: it holds a line break"
        )
        assert "hunter22" not in str(error)

    def test_variables_may_have_small_letters(self, project: Project) -> None:
        generate(project, project.catalogue("development"))
        write_local(project, "development", {"http_proxy": "'http://proxy:3128'"})
        text = project.schema_path.read_text()
        given = "  development:\n    variables: {no_proxy: localhost}\n"
        project.schema_path.write_text(text.replace("  development:\n", given, 1))
        values = load_values(project, project.catalogue("development")).variables
        assert (values["http_proxy"], values["no_proxy"]) == ("http://proxy:3128", "localhost")

    @pytest.mark.parametrize("character", ["\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff"])
    def test_characters_that_readers_disagree_about(
        self, project: Project, catalogue: Catalogue, character: str
    ) -> None:
        write_local(project, "development", {"ODD": f"'hunter22{character}'"})
        with pytest.raises(InputError, match="the value of ODD can't be used: it holds") as caught:
            load_values(project, catalogue)
        assert "local.env:1: " in str(caught.value)
        assert "hunter22" not in str(caught.value)

    def test_text_around_an_expression(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "A={{ log_level }}\nURL=http://{{ environment }}/x\n")
        assert self.failure(project, catalogue).what == (
            "env-templates/core.env.j2:2: the value of URL needs single quotes around all of it"
        )

    def test_variable_set_twice(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "TZ={{ timezone }}\n", "vllm")
        error = self.failure(project, catalogue)
        assert error.what.endswith(".env.j2:1: TZ is set a second time") or (
            "TZ is set a second time" in error.what
        )

    def test_odd_values_survive(self, project: Project, catalogue: Catalogue) -> None:
        self.put(project, "ODD={{ variables.ODD }}\nFLAG={{ true }}\nNUMBER={{ 5 }}\n")
        write_local(project, "development", {"ODD": "'" + ODD.replace("'", "\\'") + "'"})
        path = project.root / "core.env"
        path.write_text(render_family(project, catalogue, "core"))
        assert dotenv.dotenv_values(path) == {"ODD": ODD, "FLAG": "true", "NUMBER": "5"}
