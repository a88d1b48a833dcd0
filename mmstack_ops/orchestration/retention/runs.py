"""Delete runs that ended long ago from Dagster's history, and containers that ran once.

Dagster itself deletes ticks of schedules and sensors, by ``retention`` in ``dagster.yaml``.
"""

from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRunStatus

from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.moments import cutoff
from mmstack_ops.domain.units import format_seconds
from mmstack_ops.orchestration._dagster_compat import REPOSITORY_LABEL_TAG
from mmstack_ops.orchestration.interrupts import interrupts_wait
from mmstack_ops.orchestration.retention import retention_names
from mmstack_ops.orchestration.retention.live import live_of
from mmstack_ops.orchestration.safe_errors import only_safe_errors
from mmstack_ops.orchestration.stacks.metadata import table

_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_PAGE = 500
_MOST_ROWS = 200


def runs_asset(catalogue: Catalogue) -> dg.AssetsDefinition:
    """Return the retention asset of an environment's runs and its containers that ran once."""
    age = catalogue.schema.retention.runs

    @dg.asset(
        name=retention_names.RUNS_PART,
        key_prefix=[*retention_names.whole_key(catalogue).path],
        group_name=retention_names.WHOLE_GROUP,
        pool=retention_names.cleanup_pool(catalogue.environment, retention_names.RUNS_PART),
        required_resource_keys={retention_names.LIVE},
        description=f"Runs of {catalogue.environment} that ended {format_seconds(age)} ago go; the"
        " newest of each asset stays. Containers that ran once go too.",
    )
    def clean_runs_up(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        control = live_of(context)
        with only_safe_errors("cleaning up what runs left behind"):
            containers = control.clean_containers(control.plan_containers())
        old = expired_runs(context.instance, catalogue, before=cutoff(datetime.now(UTC), age))
        for run in old:
            # Each run is deleted as a whole, with its events.
            with interrupts_wait():
                context.instance.delete_run(run.run_id)
        rows = [(run.run_id[:8], run.job_name, run.status.value) for run in old[:_MOST_ROWS]]
        rows += [(one.id[:12], one.name, "container") for one in containers]
        return dg.MaterializeResult(
            metadata={
                "deleted_runs": dg.MetadataValue.int(len(old)),
                "deleted_containers": dg.MetadataValue.int(len(containers)),
                "gone": dg.MetadataValue.md(table(("id", "what", "state"), rows)),
            }
        )

    return clean_runs_up


def expired_runs(
    instance: dg.DagsterInstance, catalogue: Catalogue, *, before: datetime
) -> list[dg.DagsterRun]:
    """Return the ended runs of an environment that are too old, but not the newest of an asset.

    Args:
        before: only runs last updated before this time.
    """
    filters = dg.RunsFilter(
        statuses=_ENDED,
        tags={REPOSITORY_LABEL_TAG: f"__repository__@{catalogue.environment}"},
        updated_before=before,
    )
    kept = _newest_of_assets(instance, catalogue)
    found: list[dg.DagsterRun] = []
    cursor: str | None = None
    while page := instance.get_runs(filters=filters, limit=_PAGE, cursor=cursor):
        found += [run for run in page if run.run_id not in kept]
        cursor = page[-1].run_id
    return found


def _newest_of_assets(instance: dg.DagsterInstance, catalogue: Catalogue) -> set[str]:
    """Return the ids of the runs that hold the state of an asset in the UI."""
    keys = instance.get_asset_keys(prefix=[catalogue.environment])
    kept: set[str] = set()
    for record in instance.get_asset_records(list(keys)):
        entry = record.asset_entry
        for latest in (entry.last_materialization_record, entry.last_observation_record):
            if latest is not None:
                kept.add(latest.event_log_entry.run_id)
    return kept
