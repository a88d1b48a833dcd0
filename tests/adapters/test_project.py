from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmstack_ops.adapters.project import Project, Settings, open_project
from mmstack_ops.domain.errors import InputError, SchemaError, UnknownNameError
from tests.adapters.config_project import ROOT, make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path, monkeypatch)


def reopened(project: Project, settings: str) -> Project:
    project.state.mkdir(exist_ok=True)
    (project.state / "settings.yaml").write_text(settings)
    return open_project(project.root)


def test_nearest_folder_with_a_schema_is_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = project.root / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert open_project().root == project.root


def test_installed_package_is_the_last_resort(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert open_project().root == ROOT


def test_variables_move_project_state_and_schema(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSTACK_PROJECT", str(project.root))
    assert open_project().state == project.root / ".mmstack"
    monkeypatch.setenv("MMSTACK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MMSTACK_SCHEMA", str(tmp_path / "other.yaml"))
    opened = open_project()
    assert (opened.state, opened.schema_path) == (tmp_path / "state", tmp_path / "other.yaml")
    with pytest.raises(InputError, match=r"other\.yaml can't be read"):
        opened.load_schema()


def test_missing_project_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="doesn't exist"):
        open_project(tmp_path / "nowhere")


def test_opening_writes_nothing(project: Project) -> None:
    assert not project.state.exists()
    assert project.environment_state("development") == project.root / ".mmstack" / "development"
    project.catalogue("dev")
    assert not project.state.exists()


def test_catalogue_takes_names_and_aliases(project: Project) -> None:
    assert project.catalogue("prod").environment == "production"
    assert project.catalogue("production").environment == "production"
    with pytest.raises(UnknownNameError, match="did you mean 'production'"):
        project.catalogue("producton")


def test_schema_is_parsed_again_only_after_it_changed(project: Project) -> None:
    first = project.load_schema()
    assert project.load_schema() is first
    text = project.schema_path.read_text()
    project.schema_path.write_text(text.replace("log_level: DEBUG", "log_level: WARN"))
    assert project.load_schema().environments["development"].log_level == "WARN"
    project.schema_path.write_text(text.replace("log_level: DEBUG", "log_level: LOUD"))
    with pytest.raises(SchemaError, match=r"schemas/compose-schema\.yaml:\d+: environments\."):
        project.load_schema()


def test_settings_file(project: Project) -> None:
    opened = reopened(project, "image_overrides: lab/images.yaml\ndocker_base_url: unix:///d\n")
    assert opened.settings == Settings(
        image_overrides=project.root / "lab" / "images.yaml", docker_base_url="unix:///d"
    )


def test_variables_win_over_the_settings_file(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2375")
    monkeypatch.setenv("MMSTACK_AGE_IDENTITY", "key.txt")
    monkeypatch.setenv("MMSTACK_LOCK_DIR", "/locks")
    monkeypatch.chdir(tmp_path)
    settings = reopened(project, "docker_base_url: unix:///d\nage_identity: other\n").settings
    assert settings.docker_base_url == "tcp://engine:2375"
    assert settings.age_identity == tmp_path / "key.txt"
    assert settings.lock_directory == Path("/locks")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nimage_override: x\n", r"settings\.yaml:2: unknown setting 'image_override'; did you"),
        ("docker_base_url: 5\n", r"settings\.yaml:1: docker_base_url: 5 is not a text"),
        ("- x\n", r"settings\.yaml:1: the settings are not a mapping"),
        ("a: [\n", r"settings\.yaml:2: "),
    ],
)
def test_bad_settings(project: Project, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        reopened(project, text)
    assert caught.value.exit_code == 2


def with_overrides(project: Project, text: str) -> Project:
    path = project.root / "images.yaml"
    path.write_text(text)
    return replace(project, settings=Settings(image_overrides=path))


def test_image_overrides(project: Project) -> None:
    assert project.image_overrides() == {}
    opened = with_overrides(project, "images:\n  postgres: lab/postgres:1\n")
    assert opened.image_overrides() == {"postgres": "lab/postgres:1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images:\n  postgre: x:1\n", r"images\.yaml:2: unknown service 'postgre'; did you mean"),
        ("images:\n  postgres: 5\n", r"images\.yaml:2: the image of 'postgres' is not a text"),
        ("postgres: x:1\n", r"images\.yaml:1: an image override file has one key"),
        ("images: {}\nimage: {}\n", r"images\.yaml:1: an image override file has one key"),
        ("", r"images\.yaml:1: the file is empty"),
    ],
)
def test_bad_image_overrides(project: Project, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_overrides(project, text).image_overrides()


def test_missing_override_file(project: Project) -> None:
    opened = replace(project, settings=Settings(image_overrides=project.root / "none.yaml"))
    with pytest.raises(InputError, match=r"none\.yaml can't be read"):
        opened.image_overrides()


def test_shipped_lab_overrides_name_every_service(project: Project) -> None:
    opened = replace(project, settings=Settings(image_overrides=ROOT / "lab" / "images.yaml"))
    assert set(opened.image_overrides()) == set(project.load_schema().services)
