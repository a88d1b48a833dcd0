"""What all schema models share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class SchemaModel(BaseModel):
    """Immutable, and closed: a key that isn't declared is an error, not a surprise."""

    # Only the whole schema is ever validated: building a validator for each part of it as well
    # would be a tenth of the time of `mmstack status`.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=63)]
"""A name that Docker, DNS, Dagster and a file system all accept."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of a variable of the environment file, which references can name."""

ContainerVariableName = Annotated[
    str, StringConstraints(pattern=r"^[^=\s\x00-\x1f\x7f-\x9f]+$", max_length=1024)
]
"""The name of a variable of a container: any that Docker and Compose take, such as `a.b-c`."""
