"""Load the values of one environment, and write the private files that pass them to containers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmstack_ops.adapters.environment.templates import TemplateContext, render_lines
from mmstack_ops.adapters.files import make_private_directory, write_atomically
from mmstack_ops.adapters.project import Project
from mmstack_ops.adapters.secrets.store import Store, read_store
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.environment.dotenv import (
    assignment,
    parse_assignment,
    value_problem,
    with_values,
)
from mmstack_ops.domain.errors import InputError, RenderError, SecretError
from mmstack_ops.domain.schema.literals import names_a_credential
from mmstack_ops.domain.secrets.generate import missing_names
from mmstack_ops.domain.secrets.values import EnvironmentValues, secret_variable_names

MASTER = "master"
"""The template that includes all others."""


def environment_file(project: Project, environment: str) -> Path:
    """Return the path of the environment file that containers and Compose read."""
    return project.environment_state(environment) / "environment.env"


def load_values(project: Project, catalogue: Catalogue) -> EnvironmentValues:
    """Render the templates and read the secrets. Nothing is written except the schema cache.

    Precedence, from lowest to highest: templates, the environment's ``variables`` in the schema,
    the operator's ``local.env``. The environment of this process isn't used.

    Raises:
        SecretError: secrets are missing, or the store can't be read.
        RenderError: a template can't be rendered.
        InputError: ``local.env`` isn't valid.
    """
    store, secrets, local = _sources(project, catalogue)
    lines = _lines(project, catalogue, secrets, local, MASTER)
    variables = dict(filter(None, map(parse_assignment, lines)))
    hidden = secret_variable_names(variables, secrets)
    return EnvironmentValues(
        variables=variables,
        secret_variables=hidden | {name for name in local if names_a_credential(name)},
        secrets=secrets,
        digest_key=store.digest_key,
        secret_directory=str(_secret_folder(project, catalogue.environment)),
    )


def render_family(project: Project, catalogue: Catalogue, family: str) -> str:
    """Return one rendered template as the text of an environment file. It contains secrets.

    Raises:
        SecretError: secrets are missing, or the store can't be read.
        RenderError: the template doesn't exist or can't be rendered.
        InputError: ``local.env`` isn't valid.
    """
    _, secrets, local = _sources(project, catalogue)
    return _text(_lines(project, catalogue, secrets, local, family))


def _sources(
    project: Project, catalogue: Catalogue
) -> tuple[Store, dict[str, str], dict[str, str]]:
    """Return the store, its secrets' values, and the operator's own values."""
    store = _complete_store(project, catalogue)
    secrets = {name: secret.value for name, secret in store.secrets.items()}
    return store, secrets, read_local(project, catalogue.environment)


def read_local(project: Project, environment: str) -> dict[str, str]:
    """Return the operator's own values of ``environment``: ``<state>/<environment>/local.env``.

    Raises:
        InputError: the file can't be read, or a line of it isn't an assignment.
    """
    path = project.environment_state(environment) / "local.env"
    values: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return values
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read", why=type(error).__name__) from None
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            parsed = parse_assignment(line)
        except ValueError as error:
            raise InputError(
                f"{project.shown(path)}:{number}: {error}",
                remedy="write NAME='value', one a line",
            ) from None
        if parsed is not None:
            values[parsed[0]] = parsed[1]
    return values


def write_runtime_files(
    project: Project, catalogue: Catalogue, values: EnvironmentValues, services: Iterable[str]
) -> None:
    """Write the environment file, and the secret files of ``services``.

    Files that are up to date aren't rewritten: a container that mounts a replaced file would
    keep reading the old one.

    Raises:
        SecretError: a file can't be written.
    """
    state = project.environment_state(catalogue.environment)
    try:
        make_private_directory(state)
        lines = _template_lines(project, catalogue, values)
        write_atomically(
            environment_file(project, catalogue.environment), _text(lines).encode(), mode=0o600
        )
        for service in services:
            _write_secrets(project, catalogue, values, service)
    except OSError as error:
        raise SecretError(
            f"the files of environment {catalogue.environment} can't be written",
            why=f"{error.strerror}: {error.filename}",
            remedy=f"check the owner, the mode and the free space of {state}",
        ) from None


def _complete_store(project: Project, catalogue: Catalogue) -> Store:
    environment = catalogue.environment
    store = read_store(project, environment)
    missing = missing_names(catalogue.schema.security.secrets, store.secrets if store else ())
    if store is None or missing:
        raise SecretError(
            f"environment {environment} lacks secrets",
            why="not generated yet: " + ", ".join(missing),
            remedy=f"run `mmstack -e {environment} secrets generate`",
        )
    return store


def _lines(
    project: Project,
    catalogue: Catalogue,
    secrets: dict[str, str],
    local: dict[str, str],
    family: str,
) -> list[str]:
    declared = catalogue.settings.variables
    for name, value in declared.items():
        if problem := value_problem(value):
            raise RenderError(
                f"environments.{catalogue.environment}.variables.{name} can't be used: {problem}"
            )
    chosen = {**declared, **local}
    rendered = render_lines(
        project.templates,
        family,
        TemplateContext(
            environment=catalogue.environment,
            log_level=catalogue.settings.log_level,
            timezone=catalogue.timezone,
            secrets=secrets,
            variables=chosen,
        ),
    )
    lines = with_values(rendered, chosen)
    if family == MASTER:
        known = {parsed[0] for parsed in map(parse_assignment, lines) if parsed is not None}
        further = {name: value for name, value in chosen.items() if name not in known}
        if further:
            lines += ["# set by the schema or by local.env, and by no template"]
            lines += [assignment(name, further[name]) for name in sorted(further)]
    return lines


def _template_lines(project: Project, catalogue: Catalogue, values: EnvironmentValues) -> list[str]:
    local = read_local(project, catalogue.environment)
    return _lines(project, catalogue, dict(values.secrets), local, MASTER)


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n") + "\n"


def _secret_folder(project: Project, environment: str) -> Path:
    return project.environment_state(environment).absolute() / "secrets"


def _write_secrets(
    project: Project, catalogue: Catalogue, values: EnvironmentValues, service: str
) -> None:
    uses = catalogue.services[service].definition.secrets
    if not uses:
        return
    make_private_directory(_secret_folder(project, catalogue.environment) / service)
    own = os.geteuid()
    for use in uses:
        path = Path(values.secret_file(service, use.secret))
        content = values.secrets[use.secret].encode()
        if own in (0, use.uid):
            write_atomically(path, content, mode=0o400, owner=use.uid)
        else:
            # Only root can change a file's owner. The parent folders are private (0700), so
            # that no other user of this host can reach it; the container mounts the file itself.
            write_atomically(path, content, mode=0o444)
