"""The JSON Schema of the schema file, for editors."""

from __future__ import annotations

import ast
import inspect
import json
from itertools import pairwise
from typing import Any

from mmstack_ops.domain.schema import base, policies, probes, retention, root, service
from mmstack_ops.domain.schema.root import Schema

FILE_NAME = "compose-schema.schema.json"
"""The file is next to the schema file, which refers to it in its first line."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the schema file."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Schema.model_json_schema(mode="validation"),
    }
    for model, texts in _attribute_docstrings().items():
        definition = schema["$defs"].get(model, {})
        for field, text in texts.items():
            if field in definition.get("properties", {}):
                described = definition["properties"][field]
                # The range of a number is already in the description.
                described["description"] = "\n\n".join(
                    filter(None, (text, described.get("description")))
                )
    return schema


def json_schema_text() -> str:
    """Return the JSON Schema as the text of the file; the same models give the same text."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _attribute_docstrings() -> dict[str, dict[str, str]]:
    """Return model → field → the docstring below the field.

    pydantic can collect these too, but does so on every import, which takes 15 ms. Only this
    function needs them.
    """
    found: dict[str, dict[str, str]] = {}
    for module in (base, policies, probes, retention, root, service):
        tree = ast.parse(inspect.getsource(module))
        for model in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            texts = found.setdefault(model.name, {})
            for statement, following in pairwise(model.body):
                if (
                    isinstance(statement, ast.AnnAssign)
                    and isinstance(statement.target, ast.Name)
                    and isinstance(following, ast.Expr)
                    and isinstance(following.value, ast.Constant)
                    and isinstance(following.value.value, str)
                ):
                    texts[statement.target.id] = inspect.cleandoc(following.value.value)
    return found
