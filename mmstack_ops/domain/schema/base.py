"""The base class and the name types of all schema models."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class SchemaModel(BaseModel):
    """An immutable model that accepts declared keys only: any other key is an error."""

    # Only the whole schema is ever validated. Building a validator for each part as well would
    # take a tenth of the time of `mmstack status`.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=63)]
"""A name that Docker, DNS, Dagster and a file system all accept."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of a variable of the environment file, as used in references."""

ContainerVariableName = Annotated[
    str, StringConstraints(pattern=r"^[^=\s\x00-\x1f\x7f-\x9f]+$", max_length=1024)
]
"""The name of a container's variable: any name Docker and Compose accept, such as `a.b-c`."""
