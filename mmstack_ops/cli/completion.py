"""Words for shell completion, from the schema.

Reads only the names, with a YAML parser and without validation: completion works while the
schema is being edited, and without a noticeable delay.
"""

from __future__ import annotations

from typing import Any

import typer

from mmstack_ops.domain.errors import MmstackError


def complete_environments(incomplete: str) -> list[str]:
    """Return the environments that begin with ``incomplete``."""
    return [name for name in _section("environments") if name.startswith(incomplete)]


def complete_targets(context: typer.Context, incomplete: str) -> list[str]:
    """Return the stacks and services that begin with ``incomplete`` and aren't given yet."""
    given = set(context.params.get("targets") or ())
    names = [*_section("stacks"), *_section("services")]
    return [name for name in names if name.startswith(incomplete) and name not in given]


def complete_scopes(incomplete: str) -> list[str]:
    """Return the scopes of a wipe that begin with ``incomplete``."""
    from mmstack_ops.domain.wipe.scope import scopes

    names = [scope.name for scope in scopes(_section("stacks"))]
    return [name for name in names if name.startswith(incomplete)]


def _section(key: str) -> dict[str, Any]:
    import yaml

    from mmstack_ops.adapters.project import open_project

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = open_project().schema_path.read_text(encoding="utf-8")
        # Both loaders are safe; this is the faster one, if it is available.
        document = yaml.load(text, Loader=loader)  # noqa: S506
    except (MmstackError, OSError, yaml.YAMLError):
        # Completion cannot report an error; the command itself does.
        return {}
    section = document.get(key) if isinstance(document, dict) else None
    return section if isinstance(section, dict) else {}
