"""Age, proof, verification and quota as asset checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mmstack_ops.adapters.project import Project
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import DrillCheck
from mmstack_ops.orchestration.backups.backup_names import with_method
from tests.orchestration.backups.conftest import World, evaluations, failure_text
from tests.orchestration.fakes import Run

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
FULL = Series("postgres", "full")


def checked(world: World) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Make every check of backups, as "Execute all" in the UI does."""
    job = world.definitions.resolve_implicit_global_asset_job_def()
    keys = world.definitions.resolve_asset_graph().asset_check_keys
    own = {key for key in keys if key.asset_key.path[1] == "backup"}
    with dg.DagsterInstance.ephemeral() as instance:
        subset = job.get_subset(asset_selection=set(), asset_check_selection=own)
        return evaluations(subset.execute_in_process(instance=instance), instance)


def test_the_scheduled_checks_are_those_that_time_changes(
    project: Project, instance: dg.DagsterInstance
) -> None:
    world = World(project, "testing")
    job = world.definitions.resolve_job_def("backup_check")
    found = evaluations(job.execute_in_process(instance=instance), instance)
    series = ("postgres_full", "postgres_schema", "minio_bucket")
    assert set(found) == {
        ("local", "quota"),
        *((f"local/{name}", check) for name in series for check in ("age", "proven")),
    }


@pytest.fixture
def development(project: Project) -> World:
    return World(project, "development")


def test_every_series_has_its_checks_and_every_tier_its_quota(staging: World) -> None:
    graph = staging.definitions.resolve_asset_graph()
    found = {
        ("/".join(k.asset_key.path[2:]), k.name)
        for k in graph.asset_check_keys
        if k.asset_key.path[1] == "backup"
    }
    assert {name for place, name in found if place == "local/postgres_full"} == {
        "age",
        "proven",
        "verified",
    }
    assert {name for place, name in found if place == "cloud/postgres_full"} == {"verified"}
    assert {(tier, "quota") for tier in ("local", "remote", "cloud")} <= found


def test_never_backed_up_is_loud_only_where_schedules_run(
    staging: World, development: World
) -> None:
    for world, severity in ((staging, ERROR), (development, WARN)):
        check = checked(world)["local/postgres_full", "age"]
        assert not check.passed
        assert check.severity == severity
        assert check.description == "never backed up"


def test_what_the_environment_does_not_start_needs_no_backup(project: Project) -> None:
    checks = checked(World(project, "testing"))
    assert checks["local/vllm-small_models", "age"].passed
    assert not checks["local/postgres_full", "age"].passed


def test_an_old_backup_fails_the_age_check(staging: World) -> None:
    ref = staging.backups.take(FULL)
    assert checked(staging)["local/postgres_full", "age"].passed
    staging.backups.now += timedelta(hours=27)
    check = checked(staging)["local/postgres_full", "age"]
    assert not check.passed
    assert check.metadata["age_seconds"].value == 27 * 3600
    assert check.metadata["max_age_seconds"].value == 26 * 3600
    assert check.metadata["newest"].value == str(ref)


def test_a_drill_shows_at_once_and_with_figures(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)
    staging.backups.now = datetime.now(UTC)
    result = run("restore_drill")
    assert result.success
    check = evaluations(result, instance)["local/postgres_full", "proven"]
    assert check.passed
    assert check.metadata["compared"].value == 42
    assert check.metadata["seconds_to_restore"].value == 3.5
    assert check.metadata["backup"].value == str(ref)
    later = checked(staging)["local/postgres_full", "proven"]
    assert later.passed
    assert later.metadata["compared"].value == 42


def test_a_drill_that_fails_is_an_error_and_fails_the_run(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    good, bad = staging.backups.take(Series("minio", "bucket")), staging.backups.take(FULL)
    staging.backups.unprovable = {bad.id}
    result = run("restore_drill")
    assert not result.success
    checks = evaluations(result, instance)
    assert not checks["local/postgres_full", "proven"].passed
    assert checks["local/postgres_full", "proven"].severity == ERROR
    assert "users differs" in str(
        checks["local/postgres_full", "proven"].metadata["first_differences"].value
    )
    assert checks["local/minio_bucket", "proven"].passed
    assert "is unproven, because 1 of 42 differ" in failure_text(result)
    assert good in staging.backups.proofs
    later = checked(staging)["local/postgres_full", "proven"]
    assert not later.passed
    assert later.severity == ERROR


def test_a_check_of_meaning_that_fails_says_why_and_shows_all(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)
    staging.backups.checked = (
        DrillCheck("trend", True, "as expected from the last one"),
        DrillCheck("probe users", False, "0 is less than 1"),
    )
    result = run("restore_drill")
    assert not result.success
    why = f"{ref.id} is unproven, because probe users: 0 is less than 1"
    assert why in failure_text(result)
    check = evaluations(result, instance)["local/postgres_full", "proven"]
    assert (check.passed, check.description) == (False, why)
    table = str(check.metadata["checks"].value)
    assert "| trend | passed | as expected from the last one |" in table
    assert "| probe users | FAILED | 0 is less than 1 |" in table
    later = checked(staging)["local/postgres_full", "proven"]
    assert not later.passed
    assert "probe users: 0 is less than 1" in str(later.description)


def test_an_expired_proof_is_a_warning(run: Run, staging: World) -> None:
    staging.backups.take(FULL)
    staging.backups.now = datetime.now(UTC) - timedelta(days=9)
    run("restore_drill")
    check = checked(staging)["local/postgres_full", "proven"]
    assert not check.passed
    assert check.severity == WARN
    assert "at most 8d" in str(check.description)


def test_a_scheduled_drill_takes_as_many_as_the_policy_says(run: Run, staging: World) -> None:
    for series in staging.backups.series:
        staging.backups.take(series)
    assert run("restore_drill").success
    assert len(staging.backups.proofs) == 2


def test_a_drill_of_targets_proves_their_newest(run: Run, staging: World) -> None:
    staging.backups.take(FULL)
    newest = staging.backups.take(FULL)
    staging.backups.take(Series("minio", "bucket"))
    config = {"ops": {"prove_backups": {"config": {"targets": ["postgres"], "types": ["full"]}}}}
    assert run("restore_drill", run_config=config).success
    assert set(staging.backups.proofs) == {newest}


def test_a_corrupt_copy_is_healed_and_said(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)
    staging.backups.stored["remote"][ref] = staging.backups.manifest(ref)
    staging.backups.corrupt = {(ref.id, "remote")}
    result = run("backup_verify")
    assert result.success
    assert evaluations(result, instance)["remote/postgres_full", "verified"].passed
    observed = {
        event.asset_observation_data.asset_observation.asset_key.path[-2]: (
            event.asset_observation_data.asset_observation.metadata
        )
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    }
    assert observed["remote"]["healed_from"].value == "local"
    assert "app.dump.zst" in str(observed["remote"]["quarantined"].value)


def test_a_corrupt_copy_that_cannot_be_healed_fails_run_and_check(
    run: Run, staging: World, instance: dg.DagsterInstance
) -> None:
    ref = staging.backups.take(FULL)
    other = staging.backups.take(Series("minio", "bucket"))
    staging.backups.corrupt = {(ref.id, "local")}
    result = run("backup_verify")
    assert not result.success
    assert "its SHA-256 differs" in failure_text(result)
    assert not evaluations(result, instance)["local/postgres_full", "verified"].passed
    assert evaluations(result, instance)["local/minio_bucket", "verified"].passed
    assert (other, "local") in staging.backups.verified_at
    check = checked(staging)["local/postgres_full", "verified"]
    assert not check.passed
    assert check.severity == ERROR
    assert ref.id in str(check.description)


def test_verifying_a_backup_that_is_not_there_is_refused(run: Run, staging: World) -> None:
    ref = "staging/postgres/full/20260131T010000Z-0a1b2c3d"
    config = {"ops": {"verify_backups": {"config": {"backups": [ref]}}}}
    result = run("backup_verify", run_config=config)
    assert not result.success
    assert f"there is no backup {ref}" in failure_text(result)


def test_quota_warns_first_then_fails_and_so_does_a_tier_that_is_down(staging: World) -> None:
    check = checked(staging)["local", "quota"]
    assert check.passed
    assert check.metadata["quota_bytes"].value == 100 * 10**9
    for used, severity in ((91 * 10**9, WARN), (100 * 10**9, ERROR)):
        staging.backups.used = {"local": used}
        check = checked(staging)["local", "quota"]
        assert (check.passed, check.severity) == (False, severity)
    assert check.metadata["share_used"].value == 1.0
    staging.backups.down = {"remote"}
    check = checked(staging)["remote", "quota"]
    assert not check.passed
    assert "remote is not mounted" in str(check.description)
    assert checked(staging)["cloud", "quota"].passed


def test_checks_change_nothing(staging: World) -> None:
    staging.backups.take(FULL)
    checked(staging)
    assert {call.split()[0] for call in staging.backups.calls} <= {"tiers", "status", "backups"}


def test_services_are_known_by_their_method_not_their_name(staging: World) -> None:
    assert with_method(staging.catalogue, "s3", "bucket") == [Series("minio", "bucket")]
    assert with_method(staging.catalogue, "huggingface", "models") == [
        Series("vllm-small", "models")
    ]
