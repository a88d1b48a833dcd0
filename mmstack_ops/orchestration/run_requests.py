"""Build the run that carries out a verb on stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.stacks.jobs import bring_up_run_config

Verb = Literal["start", "stop", "restart", "rebuild"]


@dataclass(frozen=True)
class RunRequest:
    """The arguments of ``run_job`` for one run."""

    job: str
    run_config: dict[str, Any] = field(default_factory=dict)
    selection: list[str] | None = None


@dataclass(frozen=True)
class Options:
    """The options of a verb. A verb ignores options that don't apply to it."""

    dependencies: bool = True
    """Also start what the targets need."""
    gpu: bool = False
    profiles: Sequence[str] = ()
    keep_containers: bool = False


def run_request(
    catalogue: Catalogue,
    verb: Verb,
    targets: Sequence[str],
    options: Options,
    *,
    removed: Mapping[str, str] | None = None,
) -> RunRequest:
    """Return the run that carries out ``verb`` on ``targets``.

    Args:
        targets: known stacks, known services or the environment's name.
        removed: service → stack of the targets that have left the schema, for a stop.
    """
    left = removed or {}
    if verb in ("start", "rebuild"):
        return _bring_up(catalogue, verb, targets, options)
    scope = _scope(catalogue, targets, left)
    settings: dict[str, Any] = {}
    if (scope or catalogue.environment) not in targets:
        known = [target for target in targets if target not in left]
        settings["services"] = [*_named(catalogue, verb, known), *left]
    if options.keep_containers:
        settings["keep_containers"] = True
    config = (
        {"ops": {dagster_names.operation_op(verb, scope): {"config": settings}}} if settings else {}
    )
    return RunRequest(dagster_names.job_name(verb, scope), config)


def _bring_up(
    catalogue: Catalogue, verb: Verb, targets: Sequence[str], options: Options
) -> RunRequest:
    rebuild: Sequence[str] = ()
    if verb == "rebuild":
        rebuild = catalogue.select(targets, dependencies=False, profiles=options.profiles)
    config = bring_up_run_config(gpu=options.gpu, rebuild=rebuild)
    is_plain = len(targets) == 1 and options.dependencies and not options.profiles
    target = targets[0]
    if is_plain and target in (*catalogue.schema.stacks, catalogue.environment):
        stack = target if target in catalogue.schema.stacks else None
        return RunRequest(dagster_names.job_name(verb, stack), config)
    # A rebuild of single services doesn't change what they need.
    services = catalogue.select(
        targets,
        dependencies=options.dependencies and verb == "start",
        profiles=options.profiles,
    )
    return RunRequest(dagster_names.job_name(verb, None), config, list(services))


def _named(catalogue: Catalogue, verb: Verb, targets: Sequence[str]) -> list[str]:
    if verb == "restart":
        return list(catalogue.select(targets, dependencies=False))
    # A stop of a stack also stops services that were started by a profile.
    entries = catalogue.services.items()
    return [name for name, entry in entries if name in targets or entry.stack in targets]


def _scope(catalogue: Catalogue, targets: Sequence[str], left: Mapping[str, str]) -> str | None:
    """Return the stack that all targets belong to; None for several, or the environment."""

    def stack_of(target: str) -> str | None:
        if target in catalogue.services:
            return catalogue.services[target].stack
        stack = left.get(target, target)
        return stack if stack in catalogue.schema.stacks else None

    stacks = {stack_of(target) for target in targets}
    return stacks.pop() if len(stacks) == 1 else None
