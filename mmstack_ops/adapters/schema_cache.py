"""Cache the schema as JSON, so that read-only commands don't parse and check the YAML again.

Reading the JSON takes a hundredth of a second. Parsing the YAML and checking its rules takes a
tenth.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.adapters.files import make_private_directory, write_atomically

if TYPE_CHECKING:
    from mmstack_ops.domain.schema.root import Schema

_DOMAIN = Path(__file__).resolve().parents[1] / "domain"
"""The code that reads and checks the schema: its result may differ after a change."""
_NAME = "schema.json"


def read_schema(folder: Path, text: str, source: str) -> Schema:
    """Return the validated schema, from the cache in ``folder`` if that is of the same text.

    If the cache is missing, damaged or accessible to other users, the text is parsed instead.

    Args:
        folder: private to this user; created if its parent exists.
        text: the YAML.
        source: the file's name, for messages.

    Raises:
        SchemaError: the text is not a valid schema.
    """
    from mmstack_ops.domain.schema.root import Schema

    path = folder / _NAME
    key = _digest(source, text)
    found = _read_private(path)
    head, _, content = found.partition(b"\n")
    if head == key + b" " + _digest(content):
        return Schema.model_validate_json(content)

    from mmstack_ops.domain.schema.parse import parse_schema

    schema = parse_schema(text, source=source)
    content = schema.model_dump_json().encode()
    _keep(path, key + b" " + _digest(content) + b"\n" + content)
    return schema


def _read_private(path: Path) -> bytes:
    """Return the content of ``path``; empty unless only this user can access it."""
    try:
        with path.open("rb") as file:
            seen = os.fstat(file.fileno())
            private = seen.st_uid == os.geteuid() and not seen.st_mode & 0o077
            return file.read() if private else b""
    except OSError:
        return b""


def _keep(path: Path, content: bytes) -> None:
    if not path.parent.parent.is_dir():
        return  # Reading a project must not create its state folder.
    try:
        make_private_directory(path.parent)
        write_atomically(path, content, mode=0o600)
    except OSError:
        # The disk is full, or the state is another user's; the schema itself was read.
        return


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256("\n".join(_code(_DOMAIN)).encode())
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest().encode()


@cache
def _code(folder: Path) -> tuple[str, ...]:
    """Return a line for each module in ``folder``, cached for this process."""
    return tuple(_modules(folder))


def _modules(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _modules(Path(entry.path))
            elif entry.name.endswith(".py"):
                seen = entry.stat()
                yield f"{entry.path} {seen.st_size} {seen.st_mtime_ns}"
