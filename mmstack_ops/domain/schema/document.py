"""Parse YAML text into plain data, with the line of each value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mmstack_ops.domain.errors import SchemaError

_ESCAPES = {"\x85": r"\N", "\u2028": r"\L", "\u2029": r"\P"}
_HIDDEN_BREAK = re.compile("[\x85\u2028\u2029]")

Path = tuple[str | int, ...]

_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


@dataclass(frozen=True)
class Document:
    """Parsed data, and the line (from 1) of every key and list item in it."""

    source: str
    data: Any
    lines: dict[Path, int]

    def place(self, path: Path) -> str:
        """Return ``file:line`` of ``path``, or of its nearest ancestor that exists."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.source}:{line}"
        return self.source


def parse_document(text: str, *, source: str) -> Document:
    """Parse YAML ``text``.

    Anchors, aliases and merge keys (``<<``) are resolved. A key given twice is an error:
    YAML would silently keep the last one.

    Raises:
        SchemaError: with the place of every problem found.
    """
    _raise_if_hidden_line_breaks(text, source)
    # Imported here because a caller with a parsed document does not need a parser.
    import yaml

    # libyaml parses about ten times faster; a PyYAML built without it still works.
    make_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = make_loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise SchemaError((f"{source}:1: the file is empty",), source=source)
            lines: dict[Path, int] = {}
            problems: list[str] = []
            _record_lines(node, (), lines, problems, source, active=set())
            if problems:
                raise SchemaError(tuple(problems), source=source)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise SchemaError((f"{source}:{line}: {error.problem}",), source=source) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SchemaError((f"{source}:{line}: {error.reason}",), source=source) from error
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML passes on Python's own errors, for example for the date 2026-13-45.
        problem = f"{source}:1: a value can't be read: {error}"
        raise SchemaError((problem,), source=source) from error
    return Document(source=source, data=data, lines=lines)


def _raise_if_hidden_line_breaks(text: str, source: str) -> None:
    """Raise SchemaError for characters that are line breaks in YAML but not in editors."""
    problems = [
        f"{source}:{number}: U+{ord(found[0]):04X} is a line break to YAML:"
        f' write "{_ESCAPES[found[0]]}" in double quotes'
        for number, line in enumerate(text.split("\n"), start=1)
        for found in _HIDDEN_BREAK.finditer(line)
    ]
    if problems:
        raise SchemaError(tuple(problems), source=source)


def _record_lines(
    node: Any,
    path: Path,
    lines: dict[Path, int],
    problems: list[str],
    source: str,
    active: set[int],
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in active:
        problems.append(f"{source}:{node.start_mark.line + 1}: an alias refers to itself")
        return
    if node.tag in (_INTEGER, _FLOAT) and (reading := _odd_number(node.tag, node.value)):
        problems.append(f"{source}:{node.start_mark.line + 1}: {dotted(path)}: {reading}")
    active = active | {id(node)}
    if node.id == "mapping":
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                problems.append(f"{source}:{line}: {dotted(path)}: a key must be a plain text")
                continue
            key = key_node.value
            if key in seen:
                problems.append(f"{source}:{line}: {dotted((*path, key))}: the key is given twice")
            seen.add(key)
            lines[(*path, key)] = line
            _record_lines(value_node, (*path, key), lines, problems, source, active)
    elif node.id == "sequence":
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _record_lines(item, (*path, index), lines, problems, source, active)


def _odd_number(tag: str, text: str) -> str | None:
    """Return the problem of a number that YAML 1.1 reads as a different number, or None."""
    digits = text.lstrip("+-")
    if ":" in text:
        return f"YAML reads {text[:40]} as a number to the base of 60: quote it, or write a unit"
    if tag == _INTEGER and len(digits) > 1 and digits[0] == "0":
        return f"YAML reads {text[:40]} to another base than ten: write a decimal number"
    return None


def dotted(path: Path) -> str:
    """Return ``services.postgres.ports[0].host`` for a path of keys and indexes."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(the whole file)"
