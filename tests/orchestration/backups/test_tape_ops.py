"""A tape volume made blank as a run."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.orchestration.backups.tape_ops import recycle_request
from tests.adapters.storage.contract import put
from tests.adapters.storage.test_tape import tape
from tests.operations.backups.test_tape_volumes import volumes_of
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run


def test_a_volume_of_forgotten_files_is_made_blank_and_recorded(
    staging: World, run: Run, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    tier = tape(tmp_path, name="cloud")
    put(tier, "a", b"a" * 1000)
    staging.backups.tapes = volumes_of(tier)
    (volume,) = staging.backups.tapes.volumes()
    request = recycle_request(volume)
    refused = run(request.job, run_config=request.run_config)
    assert "retention keeps them" in failure_text(refused)
    tier.delete(["a"])
    assert run(request.job, run_config=request.run_config).success
    # What was made blank, as it was then.
    assert [one.name for one in staging.events if isinstance(one, TapeVolume)] == [volume.name]
    assert staging.backups.tapes.volumes() == ()
    key = dg.AssetKey(["staging", "backup", "cloud"])
    (record,) = instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["freed_bytes"].value == volume.stored
