"""Fields that accept one of the names in a table.

A ``Literal`` would repeat the names. Errors and JSON Schema are the same as for a ``Literal``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticKnownError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


@dataclass(frozen=True)
class OneOf:
    """An annotation that accepts the names that ``names`` returns."""

    names: Callable[[], tuple[str, ...]]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"enum": list(self.names()), "type": "string"}

    def _checked(self, value: Any) -> str:
        *first, last = self.names()
        if value not in (*first, last):
            expected = f"{', '.join(repr(name) for name in first)} or {last!r}"
            raise PydanticKnownError("literal_error", {"expected": expected})
        return str(value)
