"""Execute a job in this process, as a run of the instance that the UI shows.

The command line uses it: no code server has to start (three seconds), no daemon has to be
up, and progress goes directly to the terminal. All runs still share one history.
"""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain import errors as known_errors
from mmstack_ops.domain.errors import UnexpectedError
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration._dagster_compat import (
    REPOSITORY_LABEL_TAG,
    InMemoryJob,
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    execute_run_iterator,
)
from mmstack_ops.orchestration.build import build_definitions
from mmstack_ops.orchestration.inline_termination import watch_for_termination
from mmstack_ops.orchestration.instance import open_instance
from mmstack_ops.orchestration.pool_wait import wait_for_pools
from mmstack_ops.orchestration.processes import process_tag

# The terminal shows progress instead of Dagster's log.
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run."""

    run_id: str
    """Empty if it was cancelled before it started."""
    success: bool
    results: tuple[ServiceResult, ...]
    error: str = ""
    """What failed, why and what to do; empty if nothing failed."""
    cancelled: bool = False


def run_job(
    project: Project,
    environment: str,
    job_name: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    selection: list[str] | None = None,
    assets: Sequence[Sequence[str]] | None = None,
    tags: Mapping[str, str] | None = None,
    on_event: Callable[[ApplyEvent], None],
    overrides: Mapping[str, object] | None = None,
) -> RunOutcome:
    """Execute ``job_name`` and return its outcome.

    An interrupt (SIGINT, SIGTERM, or "Terminate" in the UI) cancels the work, waits for its
    clean-up and returns an outcome that is marked as cancelled. Call it from the main thread:
    no other thread receives signals.

    Args:
        run_config: the job's run config; it must not contain a secret, since Dagster stores it.
        selection: services to bring up, instead of all services of the job. If the job lacks
            one of them (a service of a profile), the run is an ad hoc materialization.
        assets: keys (as paths) of the assets to materialize, instead of all of the job's.
        tags: additional tags of the run, such as the verb; user, environment and process are
            always added.
        on_event: receives progress and results, also of backups, in the caller's thread.
        overrides: as for ``build_definitions``.

    Raises:
        MmstackError: if the run can't start.
    """
    results: list[ServiceResult] = []

    def listen(event: ApplyEvent) -> None:
        if isinstance(event, ServiceResult):
            results.append(event)
        on_event(event)

    def waiting(holder: str) -> None:
        on_event(Progress("", "", "waiting", f"waiting for {holder}"))

    definitions = build_definitions(
        environment,
        overrides={
            "project": project,
            "listener": listen,
            **(overrides or {}),
        },
    )
    environment = str(project.catalogue(environment).environment)
    keys = _selected_keys(project, environment, selection)
    if assets is not None:
        keys = frozenset(dg.AssetKey(list(path)) for path in assets)
    job = _job(definitions, job_name, keys)
    origin = _origin(project, environment, job.name)
    with open_instance(project) as instance, _terminations_as_interrupts():
        try:
            wait_for_pools(instance, _pools(job, keys), on_wait=waiting)
        except KeyboardInterrupt:
            return RunOutcome("", False, (), "cancelled before it began", cancelled=True)
        run = instance.create_run_for_job(
            job,
            run_config={**_chosen(job, run_config), **_SILENT},
            asset_selection=keys,
            tags=_tags(environment, origin, tags),
            remote_job_origin=origin,
        )
        error = _execute(instance, job, run)
        status = instance.get_run_by_id(run.run_id)
    final = status.status if status is not None else DagsterRunStatus.FAILURE
    cancelled = final in (DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING)
    return RunOutcome(
        run_id=run.run_id,
        success=final == DagsterRunStatus.SUCCESS,
        results=tuple(results),
        error="cancelled; what had begun was taken back" if cancelled else error,
        cancelled=cancelled,
    )


def _execute(instance: dg.DagsterInstance, job: dg.JobDefinition, run: dg.DagsterRun) -> str:
    """Execute ``run`` and return the text of its failure, or an empty string."""
    errors: list[str] = []
    with watch_for_termination(instance, run.run_id):
        for event in execute_run_iterator(InMemoryJob(job), run, instance):
            if event.is_step_failure:
                data = event.step_failure_data
                interrupted = data.error is not None and data.error.cls_name in (
                    "DagsterExecutionInterruptedError",
                    "KeyboardInterrupt",
                )
                if interrupted:
                    # Dagster marks an interrupted run as cancelled only if a cancellation was
                    # requested before; here the interrupt is the request.
                    _mark_canceling(instance, run.run_id)
                else:
                    errors.append(_text_of(event))
            elif event.is_job_failure and not errors:
                errors.append(_unexpected("the run", event.job_failure_data.error))
    return "\n".join(errors)


def _text_of(event: dg.DagsterEvent) -> str:
    meant = event.step_failure_data.user_failure_data
    if meant is not None and meant.description:
        return str(meant.description)
    return _unexpected(f"step {event.step_key}", event.step_failure_data.error)


def _unexpected(what: str, error: Any) -> str:
    """Return the text of an exception that Dagster itself caught: its type and locations.

    Its message and the lines of code are left out, since they may contain a value. Our own
    errors never contain one: their text is returned.
    """
    if error is None:
        return f"{what} failed; the run in the UI says more"
    while error.cause is not None:
        error = error.cause
    if isinstance(getattr(known_errors, error.cls_name or "", None), type):
        return str(error.message.partition(": ")[2]).strip()
    # A frame is `File "…", line 1, in name`, then the line of code.
    places = [frame.strip().partition("\n")[0] for frame in error.stack]
    return str(UnexpectedError(what, error.cls_name or "an error", tuple(places)))


def _mark_canceling(instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status == DagsterRunStatus.STARTED:
        instance.report_run_canceling(run, "Interrupted on the command line.")


def _selected_keys(
    project: Project, environment: str, selection: list[str] | None
) -> frozenset[dg.AssetKey] | None:
    if not selection:
        return None
    catalogue = project.catalogue(environment)
    chosen = catalogue.select(selection, dependencies=False)
    return frozenset(dagster_names.asset_key(catalogue, service) for service in chosen)


def _job(
    definitions: dg.Definitions, job_name: str, keys: frozenset[dg.AssetKey] | None
) -> dg.JobDefinition:
    job = definitions.resolve_job_def(job_name)
    if keys is None or keys <= set(job.asset_layer.executable_asset_keys):
        return job
    return definitions.resolve_implicit_global_asset_job_def()


def _chosen(job: dg.JobDefinition, run_config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the given run config, or the job's own if none was given."""
    return run_config if run_config is not None else job.run_config or {}


def _pools(job: dg.JobDefinition, keys: frozenset[dg.AssetKey] | None) -> set[str]:
    chosen = job.get_subset(asset_selection=keys) if keys is not None else job
    found = (getattr(node, "pool", None) for node in chosen.all_node_defs)
    return {pool for pool in found if pool is not None}


def _tags(
    environment: str, origin: RemoteJobOrigin, tags: Mapping[str, str] | None
) -> dict[str, str]:
    return {
        # Runs launched in the UI have it too: the UI filters a job's runs by it.
        REPOSITORY_LABEL_TAG: origin.repository_origin.get_label(),
        dagster_names.ENVIRONMENT_TAG: environment,
        dagster_names.USER_TAG: _user(),
        dagster_names.PROCESS_TAG: process_tag(os.getpid()),
        **(tags or {}),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run with a user ID that has no account.
        return f"uid {os.getuid()}"


def _origin(project: Project, environment: str, job_name: str) -> RemoteJobOrigin:
    """Return the origin of this job in workspace.yaml, by which the UI finds the run's job."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(
            executable_path=sys.executable,
            module_name=dagster_names.ENTRY_MODULE,
            working_directory=str(project.root),
            attribute=environment,
        ),
        location_name=environment,
    )
    repository = RemoteRepositoryOrigin(location, "__repository__")
    return RemoteJobOrigin(repository, job_name)


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C in the block. Other threads than the main one get no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
