"""When a protected environment gives its data up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef, new_id
from mmstack_ops.domain.backups.status import BackupCopy, BackupRow, SeriesStatus
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.wipe.guard import guarded, savers_of
from mmstack_ops.domain.wipe.scope import find_scope
from mmstack_ops.domain.wipe.wipe_plan import WipePlan
from mmstack_ops.domain.wipe.wipe_planner import plan_wipe
from tests.domain.wipe.places import catalogue, everything, volume

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def status(
    service: str,
    type_name: str,
    *,
    age: timedelta | None = HOUR,
    proof: timedelta | None = HOUR,
    max_age: float = 26 * 3600.0,
) -> SeriesStatus:
    row = None
    if age is not None:
        ref = BackupRef("production", service, type_name, new_id(NOW - age, b"abcd"))
        proven = None if proof is None else NOW - proof
        row = BackupRow(ref, {"local": BackupCopy("local", 1)}, proven_at=proven)
    return SeriesStatus(
        Series(service, type_name),
        newest=row,
        last_proven=row if row is not None and row.proven else None,
        max_age=max_age,
        age=None if age is None else age.total_seconds(),
    )


def plan(*statuses: SeriesStatus, environment: str = "production", **how: Any) -> WipePlan:
    found = catalogue(environment)
    bare = plan_wipe(found, find_scope(found, "db"), everything(found), made_at=NOW)
    how.setdefault("unproven", False)
    return guarded(bare, found, statuses, now=NOW, **how)


GOOD = (
    status("postgres", "full"),
    status("qdrant", "collection"),
    status("minio", "bucket"),
    status("elasticsearch", "full"),
)


def test_all_that_goes_is_backed_up_and_proven() -> None:
    found = plan(*GOOD)
    assert found.guarded
    assert found.refusals == ()
    found.raise_if_guarded()
    item = next(one for one in found.items if one.name.endswith("postgres_data"))
    assert item.loses == "The PostgreSQL cluster; backed up 1h 00m ago, proven"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (status("postgres", "full", age=None), "no backup"),
        (status("postgres", "full", age=timedelta(hours=27)), "27|1d 3h"),
        (status("postgres", "full", proof=None), "no backup is proven"),
        (status("postgres", "full", proof=timedelta(days=9)), "its last proof is 9d"),
        # A schema holds no row.
        (status("postgres", "schema"), "no backup"),
    ],
)
def test_one_service_that_lacks_something_is_enough_to_refuse(bad: SeriesStatus, why: str) -> None:
    found = plan(bad, *GOOD[1:])
    (refusal,) = found.refusals
    assert refusal.startswith("postgres: ")
    assert any(part in refusal for part in why.split("|"))
    with pytest.raises(InputError, match="--without-proven-backup"):
        found.raise_if_guarded()


def partial(*names: str, text: str = "not covered: x") -> SeriesStatus:
    found = status("postgres", "full")
    assert found.last_proven is not None
    row = replace(found.last_proven, complete=False)
    return replace(found, newest=row, last_proven=row, not_covered=text, not_covered_names=names)


def test_a_proof_that_does_not_cover_all_unlocks_nothing_unless_each_name_is_typed() -> None:
    incomplete = partial("database old", "database older")
    (refusal,) = plan(incomplete, *GOOD[1:]).refusals
    assert "--accept-loss 'postgres:database old' --accept-loss" in refusal
    some = plan(incomplete, *GOOD[1:], accepted=["postgres:database old"])
    (refusal,) = some.refusals
    assert "'postgres:database older'" in refusal
    assert "'postgres:database old'" not in refusal
    every = ["postgres:database older", "postgres:database old"]
    found = plan(incomplete, *GOOD[1:], accepted=every)
    assert found.refusals == ()
    assert found.accepted == tuple(sorted(every))
    assert any("postgres:database old is lost" in warning for warning in found.warnings)
    item = next(one for one in found.items if one.name.endswith("postgres_data"))
    assert item.loses.endswith("proven in part")


def test_what_cannot_be_named_cannot_be_accepted() -> None:
    (refusal,) = plan(partial(), *GOOD[1:]).refusals
    assert refusal == "postgres: its proof isn't complete (not covered: x)"


def test_an_acceptance_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="redis:x can't be accepted as lost"):
        plan(*GOOD, accepted=["redis:x"])


def test_another_type_that_holds_the_data_is_as_good() -> None:
    both = (status("postgres", "full", age=None), status("postgres", "data"))
    assert plan(*both, *GOOD[1:]).refusals == ()


def test_the_lack_is_that_of_the_series_nearest_to_being_safe() -> None:
    """The volume's line says "proven in part" of it: the refusal speaks of the same backup."""
    part = replace(partial("database old"), series=Series("postgres", "data"))
    both = (status("postgres", "full", proof=None), part)
    (refusal,) = plan(*both, *GOOD[1:]).refusals
    assert "--accept-loss 'postgres:database old'" in refusal
    assert plan(*both, *GOOD[1:], accepted=["postgres:database old"]).refusals == ()


def test_a_young_backup_and_another_ones_proof_are_not_the_same_thing() -> None:
    apart = (
        status("postgres", "full", proof=None),
        status("postgres", "data", age=timedelta(days=3)),
    )
    (refusal,) = plan(*apart, *GOOD[1:]).refusals
    assert refusal == "postgres: no backup is proven to restore"


def test_a_volume_the_schema_does_not_know_is_refused() -> None:
    found = catalogue("production")
    stray = volume(found, "postgres_data")
    stray = replace(stray, name="multimodal-production-core_old_data")
    look = everything(found)
    look = replace(look, volumes=(*look.volumes, stray))
    bare = plan_wipe(found, find_scope(found, "environment"), look, made_at=NOW)
    every = [
        status(name, kind)
        for name, entry in found.services.items()
        for kind in entry.definition.backup.types
    ]
    (refusal,) = guarded(bare, found, every, now=NOW, unproven=False).refusals
    assert "old_data isn't declared" in refusal


def test_backups_that_cannot_be_read_count_for_nothing() -> None:
    found = plan(problem="its backups can't be read: the tier is down")
    assert len(found.refusals) == 4
    assert all("the tier is down" in one for one in found.refusals)


def test_an_operator_who_does_without_is_warned_and_recorded() -> None:
    found = plan(*GOOD[1:], unproven=True)
    assert found.refusals == ()
    assert found.unproven
    assert any(one.startswith("postgres: no backup") for one in found.warnings)
    found.raise_if_guarded()


def test_elsewhere_it_is_a_warning() -> None:
    found = plan(environment="development")
    assert not found.guarded
    assert found.refusals == ()
    assert any(one.startswith("postgres: ") for one in found.warnings)


def test_only_the_project_says_which_environments_are_protected() -> None:
    names = ("development", "staging", "production", "testing")
    protected = {name for name in names if catalogue(name).settings.protected}
    assert protected == {"production"}


def test_what_the_schema_leaves_out_of_backups_is_told_not_asked_for() -> None:
    found = catalogue("production")
    assert savers_of(found, "app_logs") == ()
    bare = plan_wipe(found, find_scope(found, "logs"), everything(found), made_at=NOW)
    done = guarded(bare, found, (), now=NOW, unproven=False)
    name = found.volume_name("app_logs")
    assert f"{name} is in no backup: the schema leaves it out" in done.warnings
