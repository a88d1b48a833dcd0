"""Write the JSON Schema file next to the schema; editors use it for completion."""

from __future__ import annotations

from pathlib import Path

from mmstack_ops.adapters.files import write_atomically
from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.errors import RenderError
from mmstack_ops.domain.schema.json_schema import FILE_NAME, json_schema_text


def write_json_schema(project: Project) -> Path:
    """Write the JSON Schema next to the schema file; return its path.

    Raises:
        RenderError: the file can't be written.
    """
    path = project.schema_path.with_name(FILE_NAME)
    try:
        write_atomically(path, json_schema_text().encode(), mode=0o644)
    except OSError as error:
        raise RenderError(f"{project.shown(path)} can't be written", why=str(error)) from error
    return path
