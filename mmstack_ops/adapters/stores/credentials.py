"""Find a service's own password where the schema passes it to the container."""

from __future__ import annotations

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.domain.errors import BackupError

_MOUNTED = "/run/secrets/"


def password_from(instance: Instance, variable: str) -> str | None:
    """Return the password from ``variable``, or from the file that ``<variable>_FILE`` names.

    None if the service's environment has neither.

    Raises:
        BackupError: the variable names a secret that this environment doesn't have.
    """
    environment = instance.spec.environment
    if variable in environment:
        return environment[variable]
    path = environment.get(f"{variable}_FILE", "")
    return _secret(instance, path.removeprefix(_MOUNTED)) if path.startswith(_MOUNTED) else None


def password_in_command(instance: Instance) -> str | None:
    """Return the secret whose file the container's command reads; None if it reads none.

    Raises:
        BackupError: the command reads several secrets, or the secret is missing.
    """
    text = " ".join((*(instance.spec.entrypoint or ()), *(instance.spec.command or ())))
    names = [use.secret for use in instance.definition.secrets if f"{_MOUNTED}{use.secret}" in text]
    if not names:
        return None
    if len(names) > 1:
        raise BackupError(
            f"the command of {instance.service} reads several secrets: {', '.join(names)}",
            why="it can't be told which of them is the password",
            remedy="set REDIS_PASSWORD_FILE in the service's environment to the file of one",
        )
    return _secret(instance, names[0])


def _secret(instance: Instance, name: str) -> str:
    try:
        return instance.values.secrets[name]
    except KeyError:
        raise BackupError(
            f"{instance.service} uses the secret {name}, which {instance.environment} lacks",
            remedy=f"run `mmstack -e {instance.environment} secrets generate`",
        ) from None
