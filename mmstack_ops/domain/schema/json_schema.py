"""The JSON Schema of the schema file, for editors."""

from __future__ import annotations

import json
from typing import Any

from mmstack_ops.domain.schema.root import Schema

FILE_NAME = "compose-schema.schema.json"
"""It stands beside the schema file, which names it in its first line."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the schema file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Schema.model_json_schema(mode="validation"),
    }


def json_schema_text() -> str:
    """Return it as the text of the file, the same for the same models."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
