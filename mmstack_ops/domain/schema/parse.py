"""Schema text to a validated ``Schema``, or all of its problems with their places."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from mmstack_ops.domain.errors import SchemaError
from mmstack_ops.domain.schema.base import SchemaModel
from mmstack_ops.domain.schema.document import Document, Path, dotted, parse_document
from mmstack_ops.domain.schema.rules import find_problems
from mmstack_ops.domain.schema.root import Schema
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
        problems = tuple(
            _describe(document, dict(detail)) for detail in error.errors(include_url=False)
        )
        raise SchemaError(problems, source=source) from None
    found = tuple(
        f"{document.place(problem.path)}: {dotted(problem.path)}: {problem.message}"
        for problem in find_problems(schema)
    )
    if found:
        raise SchemaError(found, source=source)
    return schema


def _describe(document: Document, detail: dict[str, Any]) -> str:
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        unknown = str(path[-1])
        message = f"unknown key {unknown!r}{did_you_mean(unknown, _known_keys(path[:-1]))}"
    elif detail["type"] == "missing":
        message = f"the key {path[-1]!r} is missing"
    elif detail["type"] == "value_error":
        # The validator's own words; pydantic would prefix them and show the input.
        message = str(detail["ctx"]["error"])
    elif detail["type"] == "string_pattern_mismatch":
        message = f"{detail['input']!r} does not match {detail['ctx']['pattern']}"
    else:
        message = detail["msg"]
    return f"{document.place(path)}: {dotted(path)}: {message}"


def _known_keys(path: Path) -> list[str]:
    """Return the keys the models allow at ``path`` by walking their annotations."""
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
