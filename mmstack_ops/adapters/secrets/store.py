"""The secrets of one environment on disk: generated once, kept, never shown."""

from __future__ import annotations

import fcntl
import json
import os
import secrets as randomness
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmstack_ops.adapters.files import make_private_directory, sync_directory, write_atomically
from mmstack_ops.adapters.project import Project
from mmstack_ops.artifacts.age import decrypt, encrypt
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import SecretError
from mmstack_ops.domain.secrets.generate import missing_names, new_value

_FORMAT = 1
_HEADER = "# Secrets of one environment. They exist only here: keep a copy in a safe place.\n"


@dataclass(frozen=True)
class StoredSecret:
    """One secret and the UTC time it was created, in RFC 3339 format."""

    value: str = field(repr=False)
    created: str


@dataclass(frozen=True)
class Store:
    """The content of a secret store."""

    digest_key: bytes = field(repr=False)
    """Key of the digests that show whether a secret has changed."""
    secrets: dict[str, StoredSecret] = field(repr=False)


@dataclass(frozen=True)
class SecretName:
    """The properties of a secret that may be shown."""

    name: str
    description: str
    present: bool
    created: str
    """RFC 3339; empty if the secret doesn't exist."""


def generate(project: Project, catalogue: Catalogue) -> tuple[str, ...]:
    """Add the secrets that are declared and missing; never change an existing one.

    A store in plain text is also encrypted if the settings name an age identity.

    Returns:
        The names of the secrets that were added.

    Raises:
        SecretError: the store can't be read or written. It isn't changed.
    """
    folder = project.environment_state(catalogue.environment)
    try:
        make_private_directory(folder)
        with _locked(folder):
            return _generate(project, catalogue, folder)
    except OSError as error:
        raise SecretError(
            f"the secrets of {catalogue.environment} can't be written",
            why=f"{error.strerror}: {error.filename}" if error.filename else str(error),
            remedy=f"check the owner, the mode and the free space of {folder}",
        ) from error


def names(project: Project, catalogue: Catalogue) -> list[SecretName]:
    """Return the declared secrets and when each was created; never a value.

    Raises:
        SecretError: the store can't be read.
    """
    store = read_store(project, catalogue.environment)
    stored = store.secrets if store is not None else {}
    return [
        SecretName(
            name=name,
            description=secret.description,
            present=name in stored,
            created=stored[name].created if name in stored else "",
        )
        for name, secret in catalogue.schema.security.secrets.items()
    ]


def read_store(project: Project, environment: str) -> Store | None:
    """Return the store of ``environment``, or None if it doesn't exist yet.

    Raises:
        SecretError: others can read it, it is damaged, or it can't be decrypted.
    """
    plain, encrypted = _paths(project.environment_state(environment))
    try:
        if encrypted.exists():
            identity = project.settings.age_identity
            if identity is None:
                raise SecretError(
                    f"{encrypted} is encrypted, and no age identity is set",
                    remedy="set age_identity in settings.yaml or MMSTACK_AGE_IDENTITY",
                )
            _raise_if_readable_by_others(encrypted)
            return _parse(decrypt(encrypted, identity), encrypted)
        if plain.exists():
            _raise_if_readable_by_others(plain)
            return _parse(plain.read_bytes(), plain)
    except OSError as error:
        raise SecretError(
            f"the secrets of {environment} can't be read",
            why=f"{error.strerror}: {error.filename}",
            remedy="run as the owner of the project's state, or set MMSTACK_STATE",
        ) from error
    return None


def _paths(folder: Path) -> tuple[Path, Path]:
    return folder / "secrets.yaml", folder / "secrets.yaml.age"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the store's lock, so that two processes that generate don't create two stores."""
    descriptor = os.open(folder / ".secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _generate(project: Project, catalogue: Catalogue, folder: Path) -> tuple[str, ...]:
    declared = catalogue.schema.security.secrets
    plain, encrypted = _paths(folder)
    store = read_store(project, catalogue.environment)
    stored = dict(store.secrets) if store is not None else {}
    digest_key = store.digest_key if store is not None else randomness.token_bytes(32)
    added = missing_names(declared, stored)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name in added:
        stored[name] = StoredSecret(value=new_value(declared[name]), created=now)
    identity = project.settings.age_identity
    if identity is None:
        if added or store is None:
            content = _serialize(catalogue.environment, Store(digest_key, stored))
            write_atomically(plain, content, mode=0o600)
        return added
    if added or store is None or not encrypted.exists():
        content = _serialize(catalogue.environment, Store(digest_key, stored))
        write_atomically(encrypted, encrypt(content, identity), mode=0o600)
    if plain.exists():
        # Only after the encrypted store is on disk and can be decrypted.
        _parse(decrypt(encrypted, identity), encrypted)
        plain.unlink()
        sync_directory(folder)
    return added


def _serialize(environment: str, store: Store) -> bytes:
    document = {
        "format": _FORMAT,
        "environment": environment,
        "digest_key": store.digest_key.hex(),
        "secrets": {
            name: {"value": secret.value, "created": secret.created}
            for name, secret in store.secrets.items()
        },
        # Last: otherwise a truncated file would be read as one with fewer secrets, and the
        # missing ones would be generated again.
        "complete": True,
    }
    # YAML that is also JSON: reading it needs no YAML parser, whose import alone would take a
    # twentieth of the time of `mmstack status`.
    return (_HEADER + json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _parse(content: bytes, path: Path) -> Store:
    # A YAML error quotes the text around it, so it must not be shown or chained.
    damaged = SecretError(
        f"the secret store {path} is damaged",
        why="it isn't in the form that `mmstack secrets generate` writes",
        remedy="put your safe copy back; new secrets would not open the data that exists",
    )
    try:
        document = _document(content.decode())
    except ValueError:
        raise damaged from None
    try:
        if document["format"] != _FORMAT or document["complete"] is not True:
            raise damaged
        digest_key = bytes.fromhex(document["digest_key"])
        stored = {
            str(name): StoredSecret(value=entry["value"], created=str(entry["created"]))
            for name, entry in document["secrets"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise damaged from None
    if len(digest_key) < 16 or not all(
        isinstance(secret.value, str) and secret.value for secret in stored.values()
    ):
        raise damaged
    return Store(digest_key=digest_key, secrets=stored)


def _document(text: str) -> Any:
    """Return the content of a store; older stores and edited ones may be YAML instead of JSON.

    Raises:
        ValueError: it is neither. The message doesn't contain any of the text.
    """
    try:
        return json.loads(text.removeprefix(_HEADER))
    except json.JSONDecodeError:
        import yaml
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError("no YAML") from None


def _raise_if_readable_by_others(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretError(
            f"the secret store {path} can be read by others (mode {mode:04o})",
            remedy=f"run `chmod 600 {path}`; consider what may have read it meanwhile",
        )
