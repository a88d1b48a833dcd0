"""The catalogue's names in Dagster. No other module may spell them out."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.errors import InputError

ENTRY_MODULE = "mmstack_ops.orchestration.definitions"
"""The module that workspace.yaml names; each environment is an attribute of it."""

HEALTH_CHECK = "healthy"
DRIFT_CHECK = "drift"

CONTROL = "control"
"""Resource: the environment's `StackOperations`."""
LISTENER = "listener"
"""Resource: receives every `ApplyEvent` as it happens."""
NOTIFIER = "notifier"
"""Resource: receives notifications for operators."""

COMMAND_TAG = "mmstack/command"
VERB_TAG = "mmstack/verb"
USER_TAG = "mmstack/user"
PROCESS_TAG = "mmstack/process"
ENVIRONMENT_TAG = "mmstack/environment"
SERVICE_TAG = "mmstack/service"


def dagster_name(name: str) -> str:
    """Return ``name`` as Dagster accepts it for jobs, ops, groups and pools: no hyphens."""
    return name.replace("-", "_")


def raise_if_duplicates(kind: str, names: Iterable[str]) -> None:
    """Raise InputError if two different names are the same in Dagster.

    Raises:
        InputError: names the two.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(dagster_name(name), name)
        if other != name:
            raise InputError(
                f"{kind} {other!r} and {name!r} have the same name in Dagster",
                why="Dagster's names hold letters, digits and underscores only",
                remedy="rename one of them in the schema",
            )


def asset_key(catalogue: Catalogue, service: str) -> dg.AssetKey:
    """Return the key of a service: environment, stack, service."""
    return dg.AssetKey([catalogue.environment, catalogue.services[service].stack, service])


def service_of(key: dg.AssetKey) -> str:
    """Return the service of a key."""
    return key.path[-1]


def stacks_pool(environment: str) -> str:
    """Return the pool of all runs that change the stacks of an environment.

    All code locations share the pools, hence the prefix.
    """
    return f"{dagster_name(environment)}_stacks"


BRING_UP = "bring_up"
"""The step that brings services up, as named in run config."""


def operation_op(verb: str, stack: str | None) -> str:
    """Return the name of the step that stops or restarts a stack (the environment: None)."""
    return f"{verb}_{dagster_name(stack) if stack is not None else 'environment'}_services"


def job_name(verb: str, stack: str | None) -> str:
    """Return the name of the job of ``verb`` for a stack, or for the whole environment (None)."""
    return f"{verb}_{dagster_name(stack) if stack is not None else 'environment'}"
