"""From a verb and its targets to the runs that carry it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.graph import in_dependency_order
from mmstack_ops.orchestration import names

Verb = Literal["start", "stop", "restart", "rebuild"]


@dataclass(frozen=True)
class RunRequest:
    """One run: what ``run_job`` takes."""

    job: str
    run_config: dict[str, Any] = field(default_factory=dict)
    selection: list[str] | None = None


@dataclass(frozen=True)
class Options:
    """How a verb was qualified; what a verb has no use for is ignored by it."""

    dependencies: bool = True
    """Start what the targets need too."""
    gpu: bool = False
    profiles: Sequence[str] = ()
    keep_containers: bool = False


def run_requests(
    catalogue: Catalogue, verb: Verb, targets: Sequence[str], options: Options
) -> list[RunRequest]:
    """Return the runs that carry out ``verb`` on ``targets``, in order.

    A start is always one run. Stops and restarts of single stacks have a job each: several
    stacks make several runs, dependants first when stopping.

    Args:
        targets: stacks, services or the environment's name, all known.
    """
    if verb in ("start", "rebuild"):
        return [_bring_up(catalogue, verb, targets, options)]
    if catalogue.environment in targets:
        settings = {"keep_containers": True} if options.keep_containers else {}
        stacks = list(catalogue.schema.stacks) if settings else []
        return [
            RunRequest(
                names.job_name(verb, None),
                _op_config(verb, dict.fromkeys(stacks, settings)),
            )
        ]
    requests = [
        _on_stack(catalogue, verb, stack, targets, options)
        for stack in _involved_stacks(catalogue, targets)
    ]
    return requests[::-1] if verb == "stop" else requests


def _bring_up(
    catalogue: Catalogue, verb: Verb, targets: Sequence[str], options: Options
) -> RunRequest:
    is_plain = len(targets) == 1 and options.dependencies and not options.profiles
    target = targets[0]
    if is_plain and target in catalogue.schema.stacks:
        job, selection = names.job_name(verb, target), None
        services = catalogue.select(targets, dependencies=True)
    elif is_plain and target == catalogue.environment:
        job, selection = names.job_name(verb, None), None
        services = catalogue.select(targets, dependencies=True)
    else:
        # A rebuild of single services leaves what they need as it is.
        services = catalogue.select(
            targets,
            dependencies=options.dependencies and verb == "start",
            profiles=options.profiles,
        )
        job, selection = names.job_name(verb, None), list(services)
    own = {catalogue.services[s].stack for s in catalogue.select(targets, dependencies=False)}
    ops: dict[str, Any] = {}
    for stack in dict.fromkeys(catalogue.services[service].stack for service in services):
        settings: dict[str, Any] = {}
        if options.gpu:
            settings["gpu"] = True
        if verb == "rebuild" and stack in own:
            settings["rebuild"] = True
        if settings:
            ops[names.bring_up_op(stack)] = {"config": settings}
    return RunRequest(job, {"ops": ops} if ops else {}, selection)


def _involved_stacks(catalogue: Catalogue, targets: Sequence[str]) -> list[str]:
    """Return the stacks of ``targets``, each after those it depends on."""
    involved = {
        target if target in catalogue.schema.stacks else catalogue.services[target].stack
        for target in targets
    }
    needs = {name: list(stack.depends_on) for name, stack in catalogue.schema.stacks.items()}
    return [stack for stack in in_dependency_order(needs) if stack in involved]


def _on_stack(
    catalogue: Catalogue, verb: Verb, stack: str, targets: Sequence[str], options: Options
) -> RunRequest:
    settings: dict[str, Any] = {}
    if stack not in targets:
        members = catalogue.schema.stacks[stack].services
        settings["services"] = [service for service in members if service in targets]
    if options.keep_containers:
        settings["keep_containers"] = True
    return RunRequest(names.job_name(verb, stack), _op_config(verb, {stack: settings}))


def _op_config(verb: Verb, settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    ops = {
        names.operation_op(verb, stack): {"config": chosen}
        for stack, chosen in settings.items()
        if chosen
    }
    return {"ops": ops} if ops else {}
