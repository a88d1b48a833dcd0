"""Probes: checks that an application's data must pass after a drill has restored it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mmstack_ops.domain.schema.base import Name, SchemaModel
from mmstack_ops.domain.schema.ranges import Bytes, Number
from mmstack_ops.domain.units import LARGEST

_Number = Annotated[float, Number(-1e18, 1e18)]
# PostgreSQL would end a text at its first NUL.
_Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
_Count = Annotated[int, Number(0, 10**15)]
_Size = Annotated[int, Bytes("0", LARGEST)]
# A statement that begins with any other word writes, or isn't a query.
_QUERY = re.compile(r"^\s*(select|with|values|table)\b", re.IGNORECASE)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class _Probe(SchemaModel):
    name: Name
    """The probe's name in the proof, unique within the service."""


class _Expected(_Probe):
    """The expected value."""

    min: _Number | None = None
    """The smallest accepted number."""
    max: _Number | None = None
    """The largest accepted number."""
    equals: str | None = None
    """The accepted text; numbers are compared as text too."""

    @model_validator(mode="after")
    def _range_isnt_empty(self) -> _Expected:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("'min' is larger than 'max': nothing is right")
        return self

    @property
    def expects(self) -> bool:
        """Whether anything is expected of the value."""
        return not (self.min is None and self.max is None and self.equals is None)

    def wrong(self, value: object) -> str:
        """Return what is wrong with ``value`` as text; empty if it is right.

        The value's text isn't repeated: it may be personal data.
        """
        if value is None:
            return "there is no value"
        if self.equals is not None and _as_text(value) != self.equals:
            return "it isn't the text that 'equals' wants"
        if self.min is None and self.max is None:
            return ""
        number = _as_number(value)
        if number is None:
            return "it isn't a number"
        if self.min is not None and number < self.min:
            return f"{number:g} is less than {self.min:g}"
        if self.max is not None and number > self.max:
            return f"{number:g} is more than {self.max:g}"
        return ""


class _Query(_Expected):
    query: _Text
    """One read-only statement (`SELECT …`); the first column of its first row is the value."""
    if_table: _Text | None = None
    """Run the query only if this table exists; otherwise the probe passes, and reports that."""

    @field_validator("query")
    @classmethod
    def _reads(cls, query: str) -> str:
        if not _QUERY.match(query):
            raise ValueError("a query begins with SELECT, WITH, VALUES or TABLE")
        return query

    @model_validator(mode="after")
    def _says_what_is_right(self) -> _Query:
        if not self.expects:
            raise ValueError("a query needs one of 'min', 'max', 'equals'")
        return self


class SqlProbe(_Query):
    """A query on a PostgreSQL database, in a read-only transaction."""

    kind: Literal["sql"]
    database: _Text | None = None
    """None: the database in `POSTGRES_DB`."""


class SqliteProbe(_Query):
    """A query on a SQLite database on a volume, opened for reading."""

    kind: Literal["sqlite"]
    path: Annotated[str, Field(pattern=r"^/")]
    """The database's file inside the container."""


class RedisProbe(_Probe):
    """A Redis key that must exist."""

    kind: Literal["redis"]
    key: _Text
    database: Annotated[int, Number(0, 1_000_000)] = 0
    type: Literal["string", "list", "set", "zset", "hash", "stream"] | None = None
    """None: any type."""
    min: _Count | None = None
    """Smallest size: elements, or bytes of a string."""
    max: _Count | None = None
    """Largest size."""


class VectorsProbe(_Probe):
    """A search in a Qdrant collection that must find something."""

    kind: Literal["vectors"]
    collection: _Text
    vector: Annotated[list[_Number], Field(min_length=1)] | None = None
    """The vector to search for; alternatively `point`, whose vector is used."""
    point: _Count | _Text | None = None
    """Id of a point."""
    using: _Text | None = None
    """Name of the vector, in collections with several vectors per point."""
    min_results: Annotated[int, Number(1, 1000)] = 1

    @model_validator(mode="after")
    def _one_thing_to_search_for(self) -> VectorsProbe:
        if (self.vector is None) == (self.point is None):
            raise ValueError("a search needs either 'vector' or 'point'")
        return self


class ObjectProbe(_Probe):
    """An object in a bucket that must exist."""

    kind: Literal["object"]
    bucket: _Text
    key: _Text
    min_size: _Size | None = None
    max_size: _Size | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    contains: _Text | None = None
    """Text that its first 16 MiB must contain."""


class HttpProbe(_Expected):
    """A GET request to the service, started with the restored data on its own network."""

    kind: Literal["http"]
    port: Name = "http"
    """Name of one of the service's ports."""
    path: Annotated[str, Field(pattern=r"^/")]
    status: Annotated[int, Number(100, 599)] = 200
    contains: _Text | None = None
    """Text that the first MiB of the response must contain."""
    json_path: Annotated[str, Field(pattern=r"^[^.\[\]]+(\.[^.\[\]]+|\[\d+\])*$")] | None = None
    """Path in a JSON response to the value that `min`, `max`, `equals` check: `a.b[0].c`."""

    @model_validator(mode="after")
    def _value_has_a_place(self) -> HttpProbe:
        if self.expects != (self.json_path is not None):
            raise ValueError("'json_path' goes with one of 'min', 'max', 'equals'")
        return self


class N8nCredentialsProbe(_Probe):
    """Credentials that n8n stores in PostgreSQL: each must decrypt with n8n's key."""

    kind: Literal["n8n_credentials"]
    database: _Text = "n8n"
    table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = "credentials_entity"
    secret: Name = "n8n_encryption_key"  # noqa: S105 -- its name
    """The secret that holds the key."""
    min: _Count = 0
    """Minimum number of credentials; with 0, the database and its table need not exist yet."""


Probe = Annotated[
    SqlProbe
    | SqliteProbe
    | RedisProbe
    | VectorsProbe
    | ObjectProbe
    | HttpProbe
    | N8nCredentialsProbe,
    Field(discriminator="kind"),
]

METHODS: Mapping[str, tuple[str, ...]] = {
    "sql": ("postgres",),
    "n8n_credentials": ("postgres",),
    "sqlite": ("sqlite", "volumes"),
    "redis": ("redis",),
    "vectors": ("qdrant",),
    "object": ("s3",),
}
"""Kind → the `backup.method` of services it works with; other kinds work with any."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "sql": ("full", "data"),
    "n8n_credentials": ("full", "data"),
    "sqlite": ("full",),
    "redis": ("rdb", "aof"),
    "vectors": ("collection",),
    "object": ("bucket",),
    "http": ("full", "rdb", "aof", "collection", "bucket"),
}
"""Kind → the types of backups whose drills run it: those that hold the data it checks."""


def value_at(document: Any, path: str) -> Any:
    """Return the value at a ``json_path``.

    Raises:
        LookupError: there is no value at the path.
    """
    for name, index in _STEP.findall(path):
        if index:
            if not isinstance(document, list):
                raise LookupError(path)
            document = document[int(index)]
        else:
            if not isinstance(document, dict):
                raise LookupError(path)
            document = document[name]
    return document


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _as_number(value: object) -> float | None:
    try:
        number = float(str(int(value) if isinstance(value, bool) else value))
    except ValueError:
        return None
    return None if math.isnan(number) else number
