"""The project on this machine: the paths of its schema, templates and state, and its settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmstack_ops.adapters.schema_cache import read_schema
from mmstack_ops.domain.errors import InputError, SchemaError
from mmstack_ops.domain.suggest import did_you_mean

if TYPE_CHECKING:
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.schema.document import Document
    from mmstack_ops.domain.schema.root import Schema

_SCHEMA = Path("schemas") / "compose-schema.yaml"


@dataclass(frozen=True)
class Settings:
    """Settings of this machine only, from `<state>/settings.yaml` or environment variables.

    Args:
        image_overrides: file that maps services to other images; overrides schema and variables.
        docker_base_url: address of the Docker engine; None for the client's default.
        age_identity: file with an age identity; with it, secrets are encrypted at rest.
        lock_directory: folder of the host's locks.
    """

    image_overrides: Path | None = None
    docker_base_url: str | None = None
    age_identity: Path | None = None
    lock_directory: Path | None = None


_VARIABLES = {
    "image_overrides": "MMSTACK_IMAGE_OVERRIDES",
    "docker_base_url": "DOCKER_HOST",
    "age_identity": "MMSTACK_AGE_IDENTITY",
    "lock_directory": "MMSTACK_LOCK_DIR",
}


@dataclass(frozen=True)
class Project:
    """A project: a schema with its templates, and the state created from them."""

    root: Path
    state: Path
    schema_path: Path
    templates: Path
    settings: Settings
    _parsed: dict[tuple[int, int, int], Schema] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def load_schema(self) -> Schema:
        """Return the validated schema; the file is parsed again only if it has changed.

        Raises:
            InputError: the file can't be read.
            SchemaError: the schema isn't valid; contains every problem found, each as file:line.
        """
        try:
            seen = self.schema_path.stat()
            key = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            if key not in self._parsed:
                text = self.schema_path.read_text(encoding="utf-8")
                source = self.shown(self.schema_path)
                parsed = read_schema(self.state / ".cache", text, source)
                self._parsed.clear()
                self._parsed[key] = parsed
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"the schema {self.schema_path} can't be read",
                why=str(error),
                remedy="set MMSTACK_SCHEMA to the schema's path, or run inside the project",
            ) from error
        return self._parsed[key]

    def catalogue(self, environment: str) -> Catalogue:
        """Return the catalogue of ``environment`` (a name or an alias).

        Raises:
            UnknownNameError: there is no such environment.
            SchemaError: the schema isn't valid.
        """
        from mmstack_ops.domain.catalogue.resolve import resolve

        return resolve(self.load_schema(), environment)

    def image_overrides(self) -> dict[str, str]:
        """Return service → image of the override file; empty if none is set.

        Raises:
            InputError: the file can't be read, names an unknown service, or isn't of the form
                ``images: {service: image}``.
        """
        path = self.settings.image_overrides
        if path is None:
            return {}
        document = _read_document(self, path)
        images = document.data.get("images") if isinstance(document.data, dict) else None
        if not isinstance(images, dict) or set(document.data) != {"images"}:
            raise InputError(
                f"{document.source}:1: an image override file has one key, 'images'",
                remedy="write `images:` with lines such as `postgres: registry/postgres:16`",
            )
        services = self.load_schema().services
        for service, image in images.items():
            place = document.place(("images", service))
            if service not in services:
                raise InputError(
                    f"{place}: unknown service {service!r}{did_you_mean(str(service), services)}",
                    remedy=f"use one of: {', '.join(services)}",
                )
            if not isinstance(image, str) or not image:
                raise InputError(
                    f"{place}: the image of {service!r} is not a text",
                    remedy="write an image reference such as registry/postgres:16",
                )
        return dict(images)

    def environment_state(self, environment: str) -> Path:
        """Return the folder of an environment's state; writers create it, with mode 0700."""
        return self.state / environment

    def place(self, paths: Sequence[tuple[str | int, ...]]) -> str:
        """Return ``file:line: path`` of the first of ``paths`` that the schema's file has.

        Args:
            paths: keys and indexes, such as ``("services", "web", "command", 0)``; if the file
                has none of them, the nearest ancestor of the last one is used.
        """
        from mmstack_ops.domain.schema.document import dotted, parse_document

        text = self.schema_path.read_text(encoding="utf-8")
        document = parse_document(text, source=self.shown(self.schema_path))
        found = next((path for path in paths if path in document.lines), paths[-1])
        return f"{document.place(found)}: {dotted(found)}"

    def shown(self, path: Path) -> str:
        """Return ``path`` as messages show it: relative to the project if it is inside it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def open_project(root: Path | None = None) -> Project:
    """Find the project and read its settings.

    Args:
        root: the project's folder. Default: ``$MMSTACK_PROJECT``, otherwise the nearest
            folder from the current one upwards that contains a schema, otherwise the folder
            this package was installed from.

    Raises:
        InputError: there is no project, or its settings aren't valid.
    """
    found = _find_root(root)
    state = _from_environment("MMSTACK_STATE") or found / ".mmstack"
    project = Project(
        root=found,
        state=state,
        schema_path=_from_environment("MMSTACK_SCHEMA") or found / _SCHEMA,
        templates=found / "env-templates",
        settings=Settings(),
    )
    return replace(project, settings=_read_settings(project))


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser().absolute() if value else None


def _find_root(root: Path | None) -> Path:
    chosen = root or _from_environment("MMSTACK_PROJECT")
    if chosen is not None:
        if not chosen.is_dir():
            raise InputError(
                f"the project's folder {chosen} doesn't exist",
                remedy="give the folder that holds schemas/compose-schema.yaml",
            )
        return chosen.absolute()
    here = Path.cwd()
    installed = Path(__file__).resolve().parents[2]
    for candidate in (here, *here.parents, installed):
        if (candidate / _SCHEMA).is_file():
            return candidate
    raise InputError(
        "there is no project here",
        why=f"neither {here} nor a folder above it holds {_SCHEMA}",
        remedy="change to the project's folder, or set MMSTACK_PROJECT to it",
    )


def _read_document(project: Project, path: Path) -> Document:
    from mmstack_ops.domain.schema.document import parse_document

    shown = project.shown(path)
    try:
        text = path.read_text(encoding="utf-8")
        return parse_document(text, source=shown)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown} can't be read", why=str(error)) from error
    except SchemaError as error:
        raise InputError(error.problems[0], remedy=f"correct {shown}") from error


def _read_settings(project: Project) -> Settings:
    path = project.state / "settings.yaml"
    values: dict[str, Any] = {}
    if path.is_file():
        values = _settings_in(_read_document(project, path))
    for name, variable in _VARIABLES.items():
        if os.environ.get(variable):
            values[name] = os.environ[variable]
    if "docker_base_url" in values:
        _raise_if_wrong_address(values["docker_base_url"])
    for name in ("image_overrides", "age_identity", "lock_directory"):
        if name in values:
            # Relative to the project's folder in the file, to the current folder in a variable.
            base = Path.cwd() if os.environ.get(_VARIABLES[name]) else project.root
            values[name] = base / Path(values[name]).expanduser()
    return Settings(**values)


def _raise_if_wrong_address(url: str) -> None:
    """Raise InputError if the host or the port of the engine's address isn't valid.

    Raises:
        InputError: the address isn't valid.
    """
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise InputError(
            "the address of the Docker engine isn't one",
            why=str(error),
            remedy="set DOCKER_HOST (or docker_base_url in the settings) to an address such as"
            " unix:///var/run/docker.sock or tcp://127.0.0.1:2375",
        ) from None


def _settings_in(document: Document) -> dict[str, Any]:
    known = [setting.name for setting in fields(Settings)]
    if not isinstance(document.data, dict):
        raise InputError(
            f"{document.source}:1: the settings are not a mapping",
            remedy=f"write lines such as `{known[0]}: …`; the keys are {', '.join(known)}",
        )
    for key, value in document.data.items():
        place = document.place((key,))
        if key not in known:
            raise InputError(
                f"{place}: unknown setting {key!r}{did_you_mean(str(key), known)}",
                remedy=f"use one of: {', '.join(known)}",
            )
        if value is not None and not isinstance(value, str):
            raise InputError(f"{place}: {key}: {value!r} is not a text")
    return {key: value for key, value in document.data.items() if value}
