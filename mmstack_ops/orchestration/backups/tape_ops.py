"""The job that makes a tape volume blank."""

import dagster as dg
from pydantic import Field

from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.domain.units import format_bytes
from mmstack_ops.orchestration import dagster_names
from mmstack_ops.orchestration.backups import backup_names
from mmstack_ops.orchestration.backups.backup_requests import BackupRequest
from mmstack_ops.orchestration.backups.step_runner import backups_of
from mmstack_ops.orchestration.safe_errors import only_safe_errors

RECYCLE_JOB = "tape_recycle"
RECYCLE_OP = "recycle_volume"


class RecycleConfig(dg.Config):
    """The volume to recycle, as it was reviewed."""

    tier: str = Field(description="The tape tier.")
    volume: str = Field(description="The volume's name.")
    stored: int = Field(description="Bytes it held when it was looked at; else nothing is done.")


def recycle_op(catalogue: Catalogue) -> dg.OpDefinition:
    """Return the step that makes a volume blank if retention keeps nothing on it."""

    @dg.op(
        name=RECYCLE_OP,
        out=dg.Out(dg.Nothing),
        pool=backup_names.work_pool(catalogue.environment, "recycle"),
        required_resource_keys={backup_names.BACKUPS, dagster_names.LISTENER},
        description="Make a tape volume blank, of which retention keeps nothing.",
    )
    def recycle(context: dg.OpExecutionContext, config: RecycleConfig) -> None:
        with only_safe_errors(f"recycling {config.volume}"):
            was = backups_of(context).tapes.recycle(
                config.volume, config.tier, stored=config.stored
            )
        getattr(context.resources, dagster_names.LISTENER)(was)
        context.log_event(
            dg.AssetObservation(
                asset_key=backup_names.tier_key(catalogue, config.tier),
                description=f"volume {was.name} is blank again: {format_bytes(was.stored)}",
                metadata={
                    "volume": dg.MetadataValue.text(was.name),
                    "freed_bytes": dg.MetadataValue.int(was.stored),
                },
            )
        )

    return recycle


def recycle_request(volume: TapeVolume) -> BackupRequest:
    """Return the run that makes ``volume`` blank, for its current state only."""
    settings = {"tier": volume.tier, "volume": volume.name, "stored": volume.stored}
    return BackupRequest(RECYCLE_JOB, {"ops": {RECYCLE_OP: {"config": settings}}}, None)
