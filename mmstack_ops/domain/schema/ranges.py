"""Numbers, durations and sizes with the range that a field accepts.

A number outside its range is refused when the schema is read, with the range in the message.
The JSON Schema has the same range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic_core import core_schema

from mmstack_ops.domain.units import (
    DURATION_PATTERN,
    LARGEST,
    LONGEST,
    SIZE_PATTERN,
    parse_duration,
    parse_size,
    shown,
)

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


@dataclass(frozen=True)
class Number:
    """The numbers from ``low`` to ``high``, both included."""

    low: float
    high: float

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.low, "maximum": self.high}

    def _checked(self, value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{str(value).lower()} is not a number")
        found = validate(value)
        # Also false for NaN.
        if not self.low <= found <= self.high:
            raise ValueError(f"{shown(value)} is out of range: {self.low} to {self.high}")
        return found


@dataclass(frozen=True)
class Seconds:
    """The durations from ``low`` to ``high``, both included, in seconds."""

    low: str
    high: str

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        low, high = parse_duration(self.low), parse_duration(self.high)
        return {
            "anyOf": [
                {"type": "string", "pattern": DURATION_PATTERN},
                {"type": "number", "minimum": low, "maximum": high},
            ],
            "description": f"from {self.low} to {self.high}: seconds, or a text such as 30s, 5m,"
            " 7d",
        }

    def _checked(self, value: object) -> float:
        return parse_duration(value, self.low, self.high)


@dataclass(frozen=True)
class Bytes:
    """The sizes from ``low`` to ``high``, both included, in bytes."""

    low: str
    high: str

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        low, high = parse_size(self.low), parse_size(self.high)
        return {
            "anyOf": [
                {"type": "string", "pattern": SIZE_PATTERN},
                {"type": "integer", "minimum": low, "maximum": high},
            ],
            "description": f"from {self.low} to {self.high}: bytes, or a text such as 512M, 4G"
            " (binary), 100GB (decimal)",
        }

    def _checked(self, value: object) -> int:
        return parse_size(value, self.low, self.high)


Age = Annotated[float, Seconds("1h", LONGEST)]
"""Maximum age of something before it is deleted; at least one hour."""
Period = Annotated[float, Seconds("1m", LONGEST)]
"""How often something happens, or how long it is valid."""
Interval = Annotated[float, Seconds("100ms", "1d")]
"""Time between two health probes, or the timeout of one."""
Wait = Annotated[float, Seconds("0s", "1d")]
"""How long to wait for something; 0 means not at all."""
Deadline = Annotated[float, Seconds("1s", "7d")]
"""How long something may take."""

Storage = Annotated[int, Bytes("1MB", LARGEST)]
"""The capacity of a tier or a tape volume."""
Memory = Annotated[int, Bytes("6M", "64T")]
"""A container's memory; the engine accepts no less than 6 MiB."""
MemoryFiles = Annotated[int, Bytes("4K", "64T")]
"""Size of a file system in memory; at least one page."""

Share = Annotated[float, Number(0.001, 1)]
Count = Annotated[int, Number(0, 10000)]
Replicas = Annotated[int, Number(0, 100)]
PortNumber = Annotated[int, Number(1, 65535)]
