"""Parse schema text into a validated ``Schema``, or report all problems with their places."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.base import SchemaModel
from mmstack_ops.domain.schema.document import Document, Path, dotted, parse_document
from mmstack_ops.domain.schema.root import Schema
from mmstack_ops.domain.schema.rules import find_problems
from mmstack_ops.domain.suggest import did_you_mean


def parse_schema(text: str, *, source: str) -> Schema:
    """Parse and validate the schema.

    Args:
        text: the YAML text.
        source: the file's name, for messages.

    Raises:
        SchemaError: with every problem as ``file:line: path: message``.
    """
    document = parse_document(text, source=source)
    try:
        schema = Schema.model_validate(document.data)
    except ValidationError as error:
        raise SchemaError(_describe_all(document, error), source=source) from None
    found = tuple(
        f"{document.place(problem.path)}: {dotted(problem.path)}: {problem.message}"
        for problem in find_problems(schema)
    )
    if found:
        raise SchemaError(found, source=source)
    return schema


def _describe_all(document: Document, error: ValidationError) -> tuple[str, ...]:
    # Each member of a union reports its own errors; they are joined into one problem per place.
    found: dict[Path, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = _path_in(document, detail["loc"], missing=detail["type"] == "missing")
        messages = found.setdefault(path, [])
        message = _message(path, dict(detail))
        if message not in messages:
            messages.append(message)
    return tuple(
        f"{document.place(path)}: {dotted(path)}: {', or '.join(messages)}"
        for path, messages in found.items()
    )


def _path_in(document: Document, location: Path, *, missing: bool) -> Path:
    """Return the part of pydantic's location that exists in the file.

    Pydantic adds the name of a union's member, the index in a parsed pair, and ``[key]``.
    """
    path: Path = ()
    for part in location:
        if (*path, part) in document.lines:
            path = (*path, part)
    return (*path, location[-1]) if missing else path


def _message(path: Path, detail: dict[str, Any]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        unknown = str(path[-1])
        return f"unknown key {unknown!r}{did_you_mean(unknown, _known_keys(path[:-1]))}"
    if kind == "missing":
        return f"the key {path[-1]!r} is missing"
    if kind == "value_error":
        # The validator's own message; pydantic would add a prefix and show the input.
        return str(detail["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return f"{detail['input']!r} does not match {detail['ctx']['pattern']}"
    if kind in ("model_type", "dict_type"):
        return "expected a mapping of keys to values"
    message: str = detail["msg"]
    return message


def _known_keys(path: Path) -> list[str]:
    """Return the keys that the models allow at ``path``, found through their annotations."""
    candidates: list[Any] = [Schema]
    for part in path:
        following: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, SchemaModel):
                field = candidate.model_fields.get(str(part))
                following += _flatten(field.annotation) if field is not None else []
            else:
                following += [inner for arg in _arguments(candidate) for inner in _flatten(arg)]
        candidates = following
    return [
        key
        for candidate in candidates
        if isinstance(candidate, type) and issubclass(candidate, SchemaModel)
        for key in candidate.model_fields
    ]


def _arguments(annotation: Any) -> tuple[Any, ...]:
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return arguments


def _flatten(annotation: Any) -> list[Any]:
    """Return the members of a union, or the annotation itself."""
    if isinstance(annotation, type) and issubclass(annotation, SchemaModel):
        return [annotation]
    origin = getattr(annotation, "__origin__", None)
    if origin in (dict, list, tuple):
        return [annotation]
    return [inner for arg in _arguments(annotation) for inner in _flatten(arg)]
