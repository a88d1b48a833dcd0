"""The values of one environment: variables and secrets, protected against being printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmstack_ops.domain.interpolation import references


@dataclass(frozen=True)
class EnvironmentValues:
    """Rendered variables and generated secrets of one environment.

    Args:
        variables: every variable of the environment file.
        secret_variables: the names among them whose values hold a secret.
        secrets: secret name → value.
        digest_key: key of the digests that show that a secret changed without showing the secret.
        secret_directory: the host folder of the secret files that services mount:
            ``<secret_directory>/<service>/<secret>``.
    """

    variables: Mapping[str, str] = field(repr=False)
    secret_variables: frozenset[str]
    secrets: Mapping[str, str] = field(repr=False)
    digest_key: bytes = field(repr=False)
    secret_directory: str

    def secret_file(self, service: str, secret: str) -> str:
        """Return the host path of ``secret`` as mounted into ``service``."""
        return f"{self.secret_directory}/{service}/{secret}"

    def is_secret(self, template: str) -> bool:
        """Return whether a value written as ``template`` holds a secret once interpolated."""
        return any(name in self.secret_variables for name in references(template))


def secret_variable_names(
    variables: Mapping[str, str], secrets: Mapping[str, str]
) -> frozenset[str]:
    """Return the variables whose value contains the value of a secret."""
    values = [value for value in secrets.values() if value]
    return frozenset(
        name for name, text in variables.items() if any(value in text for value in values)
    )
