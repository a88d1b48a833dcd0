"""Backups and copies as assets: what is materialized, what fails, what is told."""

from __future__ import annotations

import dagster as dg
import pytest

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import BackupDone, BackupProgress
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.orchestration.backups import backup_names
from tests.orchestration.backups.conftest import World, failure_text
from tests.orchestration.fakes import Run

FULL = Series("postgres", "full")
SCHEMA = Series("postgres", "schema")


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    return {
        "/".join(event.asset_key.path[2:]): event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


def test_what_was_asked_for_and_doesnt_run_is_a_failure(run: Run, staging: World) -> None:
    """Of the nightly job it is left out: its age shows it."""
    staging.backups.stopped = {"postgres"}
    key = staging.key("local", "postgres_full")
    result = run("backup_service", asset_selection=[key])
    assert not result.success
    assert "postgres doesn't run: `mmstack start postgres`" in failure_text(result)
    assert run("backup_full").success


def test_the_graph_reads_service_then_tier_after_tier(staging: World) -> None:
    graph = staging.definitions.resolve_asset_graph()
    local = graph.get(staging.key("local", "postgres_full"))
    assert local.parent_keys == {dg.AssetKey(["staging", "core", "postgres"])}
    assert local.group_name == "backup_local"
    assert local.kinds == {"file", "postgres"}
    assert local.owners == ["team:platform"]
    remote = graph.get(staging.key("remote", "postgres_full"))
    assert remote.parent_keys == {local.key}
    cloud = graph.get(staging.key("cloud", "postgres_full"))
    assert cloud.parent_keys == {remote.key}
    assert cloud.kinds == {"s3", "postgres"}
    assert not local.is_partitioned


def test_every_series_stands_on_every_tier_the_environment_names(staging: World) -> None:
    graph = staging.definitions.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if key.path[1] == "backup"]
    found = {tuple(key.path[2:]) for key in keys}
    series = {f"{one.service}_{one.type}" for one in staging.backups.series}
    tiers = {"local", "remote", "cloud"}
    assert found == {
        *((tier,) for tier in tiers),
        *((tier, name) for tier in tiers for name in series),
    }


def test_a_full_backup_takes_everything_but_models(run: Run, staging: World) -> None:
    result = run("backup_full")
    assert result.success
    assert set(materialized(result)) == {
        "local/postgres_full",
        "local/postgres_schema",
        "local/minio_bucket",
        "local/vllm-small_config",
    }
    assert set(materialized(run("backup_models"))) == {"local/vllm-small_models"}


def test_a_backup_tells_numbers_under_stable_keys(run: Run, staging: World) -> None:
    result = run("backup_full")
    (done,) = [
        e for e in staging.events if isinstance(e, BackupDone) and e.manifest.ref.type == "full"
    ]
    metadata = materialized(result)["local/postgres_full"].metadata
    for name, value in {
        "stored_bytes": 1000,
        "plain_bytes": 4000,
        "written_bytes": 1000,
        "seconds": 2.0,
        "plain_bytes_per_second": 2000.0,
        "compression_ratio": 4.0,
        "count_rows": 1200,
    }.items():
        assert metadata[name].value == value, name
        assert isinstance(metadata[name], dg.IntMetadataValue | dg.FloatMetadataValue)
    assert metadata["backup"].value == str(done.manifest.ref)
    assert metadata["path_on_tier"].value == done.manifest.ref.prefix
    assert len(str(metadata["manifest_sha256"].value)) == 64
    assert "| rows | 1200 |" in str(metadata["figures"].value)
    assert "    pg_restore -d app app.dump" in str(metadata["restore_by_hand"].value)


def test_a_backup_shows_in_the_checks_of_the_same_run(run: Run) -> None:
    result = run("backup_full")
    passed = {
        (one.asset_key.path[-1], one.check_name): one.passed
        for one in result.get_asset_check_evaluations()
    }
    assert passed["postgres_full", "age"]
    assert passed["postgres_full", "verified"]


def test_a_series_that_fails_spares_the_others_of_its_service(run: Run, staging: World) -> None:
    staging.backups.broken = {FULL}
    result = run("backup_full")
    assert not result.success
    assert set(materialized(result)) == {
        "local/postgres_schema",
        "local/minio_bucket",
        "local/vllm-small_config",
    }
    text = failure_text(result)
    assert "1 of 2 backups of postgres failed" in text
    assert "why: pg_dump: no room" in text
    assert "do:  make room" in text
    (failed,) = [e for e in staging.events if isinstance(e, PartFailed)]
    assert (failed.subject, failed.tier, failed.work) == ("postgres/full", "local", "backup")
    (event,) = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert "| postgres/full | local |" in str(data.metadata["failed"].value)


def test_the_text_of_unexpected_errors_stays_out_of_the_log(run: Run, staging: World) -> None:
    staging.backups.raises = ValueError("postgresql://admin:s3cr3t@db")
    for job in ("backup_full", "backup_copy", "backup_check", "backup_verify", "restore_drill"):
        result = run(job)
        assert not result.success, job
        assert "s3cr3t" not in "\n".join(f"{event!r}" for event in result.all_events)
        assert "ValueError" in failure_text(result)


def test_what_does_not_run_is_left_out_and_said(run: Run, staging: World) -> None:
    staging.backups.stopped = {"postgres"}
    result = run("backup_full")
    assert result.success
    assert not any(name.startswith("local/postgres") for name in materialized(result))
    assert "back_up postgres/full" not in staging.backups.calls


def test_single_series_are_taken_by_selection(run: Run, staging: World) -> None:
    result = run("backup_service", asset_selection=[staging.key("local", "postgres_schema")])
    assert set(materialized(result)) == {"local/postgres_schema"}
    assert [c for c in staging.backups.calls if c.startswith("back_up")] == [
        "back_up postgres/schema"
    ]


def test_a_copy_brings_all_that_is_missing_the_newest_first(run: Run, staging: World) -> None:
    old, new = staging.backups.take(FULL), staging.backups.take(FULL)
    result = run("backup_copy", asset_selection=[staging.key("remote", "postgres_full")])
    assert result.success
    assert [c for c in staging.backups.calls if c.startswith("copy")] == [
        f"copy {new} to remote",
        f"copy {old} to remote",
    ]
    recorded = [
        event.step_materialization_data.materialization.metadata["backup"].value
        for event in result.get_asset_materialization_events()
    ]
    # The newest is recorded last: it is what the asset shows.
    assert recorded == [str(old), str(new)]


def test_nothing_missing_is_no_failure_and_no_materialization(run: Run, staging: World) -> None:
    result = run("backup_copy", asset_selection=[staging.key("remote", "postgres_full")])
    assert result.success
    assert materialized(result) == {}


def test_copies_go_on_from_tier_to_tier_in_one_run(run: Run, staging: World) -> None:
    ref = staging.backups.take(FULL)
    keys = [staging.key(tier, "postgres_full") for tier in ("remote", "cloud")]
    assert run("backup_copy", asset_selection=keys).success
    assert ref in staging.backups.stored["cloud"]


def test_only_the_chosen_backup_is_copied(run: Run, staging: World) -> None:
    old, new = staging.backups.take(FULL), staging.backups.take(FULL)
    config = {"ops": {backup_names.copy_op("remote"): {"config": {"backups": [str(old)]}}}}
    key = staging.key("remote", "postgres_full")
    assert run("backup_copy", asset_selection=[key], run_config=config).success
    assert old in staging.backups.stored["remote"]
    assert new not in staging.backups.stored["remote"]


def test_a_copy_that_fails_spares_the_others(run: Run, staging: World) -> None:
    staging.backups.take(FULL)
    schema = staging.backups.take(SCHEMA)
    staging.backups.broken = {FULL}
    keys = [staging.key("remote", name) for name in ("postgres_full", "postgres_schema")]
    result = run("backup_copy", asset_selection=keys)
    assert not result.success
    assert schema in staging.backups.stored["remote"]
    assert "1 of 2 copies to remote failed" in failure_text(result)


def test_a_tier_that_goes_away_is_not_asked_again_and_again(
    run: Run, staging: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        staging.backups.take(FULL)
    planned = staging.backups.missing_copies("remote")
    monkeypatch.setattr(staging.backups, "missing_copies", lambda _: planned)
    staging.backups.down = {"remote"}
    result = run("backup_copy", asset_selection=[staging.key("remote", "postgres_full")])
    assert not result.success
    assert "remote is not mounted" in failure_text(result)
    assert len([c for c in staging.backups.calls if c.startswith("copy")]) == 1


def test_a_tier_that_is_down_does_not_hinder_another(run: Run, staging: World) -> None:
    ref = staging.backups.take(FULL)
    staging.backups.stored["remote"][ref] = staging.backups.manifest(ref)
    staging.backups.down = {"local"}
    key = staging.key("cloud", "postgres_full")
    assert run("backup_copy", asset_selection=[key]).success
    assert ref in staging.backups.stored["cloud"]


@pytest.mark.parametrize("state", ["down", "unused"])
def test_copies_go_past_a_tier_in_between(run: Run, staging: World, state: str) -> None:
    ref = staging.backups.take(FULL)
    setattr(staging.backups, state, {"remote"})
    assert run("backup_copy", asset_selection=[staging.key("cloud", "postgres_full")]).success
    assert ref in staging.backups.stored["cloud"]
    assert ref not in staging.backups.stored["remote"]
    setattr(staging.backups, state, set())
    assert run("backup_copy", asset_selection=[staging.key("remote", "postgres_full")]).success
    assert ref in staging.backups.stored["remote"]


def test_a_source_that_goes_away_spares_copies_from_another(
    run: Run, staging: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far, farther = (staging.backups.take(FULL) for _ in range(3))
    for ref in (far, farther):
        staging.backups.stored["remote"][ref] = staging.backups.manifest(ref)
    planned = staging.backups.missing_copies("cloud")
    assert {one.source for one in planned} == {"local", "remote"}
    monkeypatch.setattr(staging.backups, "missing_copies", lambda _: planned)
    staging.backups.down = {"remote"}
    result = run("backup_copy", asset_selection=[staging.key("cloud", "postgres_full")])
    assert not result.success
    assert list(staging.backups.stored["cloud"]) == [near]
    # The second copy from there isn't even tried.
    assert len([c for c in staging.backups.calls if c.startswith("copy")]) == 2


def test_progress_reaches_listener_and_log_once(run: Run, staging: World) -> None:
    result = run("backup_service", asset_selection=[staging.key("local", "postgres_full")])
    progress = [e for e in staging.events if isinstance(e, BackupProgress)]
    assert [p.phase for p in progress] == ["preparing", "storing", "storing", "storing"]
    assert result.success


def test_two_backups_of_one_service_share_a_pool_and_tiers_have_their_own(staging: World) -> None:
    pools = {
        node.name: node.pool
        for job in ("backup_full", "backup_copy", "backup_service")
        for node in staging.definitions.resolve_job_def(job).all_node_defs
        if isinstance(node, dg.OpDefinition) and node.pool is not None
    }
    assert pools["back_up_postgres"] == "staging_backup_postgres"
    assert pools["back_up_vllm_small"] == "staging_backup_vllm_small"
    assert pools["copy_to_remote"] == "staging_copy_to_remote"
    assert pools["copy_to_cloud"] == "staging_copy_to_cloud"
