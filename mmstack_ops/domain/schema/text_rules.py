"""Rules about the texts that reach containers: secrets, characters, references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmstack_ops.domain.interpolation import reference_problem
from mmstack_ops.domain.schema.document import Path
from mmstack_ops.domain.schema.literals import literal_secret_problem
from mmstack_ops.domain.schema.problem import Problem
from mmstack_ops.domain.schema.root import Schema


def no_literal_secrets(schema: Schema) -> Iterator[Problem]:
    """Yield texts that hold a secret in plain text."""
    for path, key, value in _texts_of(schema):
        if message := literal_secret_problem(key, value):
            yield Problem(path, message)


def texts_reach_containers(schema: Schema) -> Iterator[Problem]:
    """Yield texts with characters that can't be passed to a container."""
    for path, _, value in _texts_of(schema):
        if "\0" in value:
            yield Problem(path, "it holds a NUL, which no container can be given")
        elif any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            yield Problem(path, "it holds a character that UTF-8 can't write")


def references_are_closed(schema: Schema) -> Iterator[Problem]:
    """Yield texts with a reference that Compose would misread."""
    for path, text in _interpolated_texts(schema):
        if message := reference_problem(text):
            yield Problem(path, message)


def _interpolated_texts(schema: Schema) -> Iterator[tuple[Path, str]]:
    for name, service in schema.services.items():
        at: Path = ("services", name)
        yield from (((*at, "environment", key), text) for key, text in service.environment.items())
        for key, words in (("entrypoint", service.entrypoint), ("command", service.command)):
            yield from (((*at, key, index), text) for index, text in enumerate(words or ()))
        for index, mount in enumerate(service.mounts):
            yield (*at, "mounts", index, "bind"), mount.bind or ""
    for name, environment in schema.environments.items():
        for service_name, override in environment.overrides.items():
            at = ("environments", name, "overrides", service_name)
            for key, text in override.environment.items():
                yield (*at, "environment", key), text
            for index, text in enumerate(override.command or ()):
                yield (*at, "command", index), text
    for name, tier in schema.backup.tiers.items():
        yield ("backup", "tiers", name, "location"), tier.location
    yield ("retention", "archive"), schema.retention.archive


def _texts_of(schema: Schema) -> Iterator[tuple[Path, str, str]]:
    """Yield path, name and value of every text that could hold a secret."""
    for name, service in schema.services.items():
        at: Path = ("services", name)
        yield from _named((*at, "environment"), service.environment)
        yield from _named((*at, "labels"), service.labels)
        yield from _unnamed((*at, "entrypoint"), service.entrypoint)
        yield from _unnamed((*at, "command"), service.command)
        if service.healthcheck is not None:
            yield from _unnamed((*at, "healthcheck", "test"), service.healthcheck.test)
        if service.image.build is not None:
            yield from _named((*at, "image", "build", "args"), service.image.build.args)
    for name, environment in schema.environments.items():
        yield from _named(("environments", name, "variables"), environment.variables)
        for service_name, override in environment.overrides.items():
            at = ("environments", name, "overrides", service_name)
            yield from _named((*at, "environment"), override.environment)
            yield from _named((*at, "labels"), override.labels)
            yield from _unnamed((*at, "command"), override.command)
    for name, tier in schema.backup.tiers.items():
        yield ("backup", "tiers", name, "location"), "", tier.location


def _named(path: Path, texts: Mapping[str, str]) -> Iterator[tuple[Path, str, str]]:
    for key, value in texts.items():
        yield (*path, key), key, value


def _unnamed(path: Path, texts: list[str] | None) -> Iterator[tuple[Path, str, str]]:
    for index, value in enumerate(texts or []):
        yield (*path, index), "", value
