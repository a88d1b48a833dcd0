"""Compiled templates, kept for the next process."""

from __future__ import annotations

import jinja2
from jinja2.bccache import Bucket

from mmstack_ops.adapters.parse_cache import ParseCache


class CompiledTemplates(jinja2.BytecodeCache):
    """Jinja2's compiled templates in our own cache: never a value, only the templates' code.

    It is run as it stands; ``ParseCache`` hands out only what is this user's alone.
    """

    def __init__(self, cache: ParseCache) -> None:
        self._cache = cache

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill ``bucket`` with what is known of its template; leave it empty otherwise."""
        content = self._cache.recall(*_origin(bucket))
        if content is not None:
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what ``bucket`` holds."""
        self._cache.keep(*_origin(bucket), bucket.bytecode_to_string())


def _origin(bucket: Bucket) -> tuple[str, str]:
    return f"template {bucket.key}", f"{jinja2.__version__} {bucket.checksum}"
