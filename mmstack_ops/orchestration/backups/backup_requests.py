"""Build the run that carries out a verb on backups."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.catalogue.resolve import Catalogue
from mmstack_ops.orchestration.backups import backup_names


@dataclass(frozen=True)
class BackupRequest:
    """The arguments of ``run_job`` for one run."""

    job: str
    run_config: dict[str, Any] = field(default_factory=dict)
    assets: list[list[str]] | None = None
    """Keys of the assets to materialize, as paths; None: all assets of the job."""


def backup_request(
    catalogue: Catalogue,
    targets: Sequence[str],
    types: Sequence[str],
    *,
    without: Collection[Series] = (),
) -> BackupRequest:
    """Return the run that backs up ``targets``.

    Args:
        targets: known stacks, known services or the environment; empty: what the nightly
            schedule backs up.
        types: only these types; empty: all.
        without: series that can't be backed up now; the nightly job skips these by itself.
    """
    if not targets and not types:
        return BackupRequest(backup_names.FULL_JOB)
    tier = catalogue.settings.backup.tiers[0]
    series = [one for one in requested_series(catalogue, targets, types) if one not in without]
    return BackupRequest(backup_names.SERVICE_JOB, assets=_paths(catalogue, tier, series))


def requested_series(
    catalogue: Catalogue, targets: Sequence[str], types: Sequence[str]
) -> list[Series]:
    """Return the series that ``backup_request`` backs up for the same targets and types."""
    if not targets and not types:
        return backup_names.nightly_series(catalogue)
    return chosen_series(catalogue, targets, types)


def copy_request(
    catalogue: Catalogue, tier: str, series: Sequence[Series], backups: Sequence[BackupRef] = ()
) -> BackupRequest:
    """Return the run that copies to ``tier`` the backups of ``series`` that it lacks.

    Args:
        backups: copy only these, instead of all that are missing.
    """
    settings = {"backups": [str(ref) for ref in backups]} if backups else {}
    return BackupRequest(
        backup_names.COPY_JOB,
        _op(backup_names.copy_op(tier), settings),
        _paths(catalogue, tier, series),
    )


def verify_request(
    targets: Sequence[str],
    backups: Sequence[BackupRef],
    *,
    types: Sequence[str] = (),
    tiers: Sequence[str] = (),
    share: float | None = None,
    heal: bool = True,
) -> BackupRequest:
    """Return the run that verifies copies: of targets, of backups, or those that are due."""
    settings: dict[str, Any] = _chosen(targets, backups, types)
    if tiers:
        settings["tiers"] = list(tiers)
    if share is not None:
        settings["share"] = share
    if not heal:
        settings["heal"] = False
    return BackupRequest(backup_names.VERIFY_JOB, _op(backup_names.VERIFY_OP, settings))


def drill_request(
    targets: Sequence[str],
    backups: Sequence[BackupRef],
    *,
    types: Sequence[str] = (),
    tier: str | None = None,
    limit: int | None = None,
) -> BackupRequest:
    """Return the run that proves backups: of targets, named ones, or those that are due."""
    settings: dict[str, Any] = _chosen(targets, backups, types)
    if tier is not None:
        settings["tier"] = tier
    if limit is not None:
        settings["limit"] = limit
    return BackupRequest(backup_names.DRILL_JOB, _op(backup_names.DRILL_OP, settings))


def restore_request(
    targets: Sequence[str],
    *,
    digest: str,
    confirmation: str | None,
    types: Sequence[str] = (),
    at: str | None = None,
    backup: BackupRef | None = None,
    tier: str | None = None,
    without_safety: bool = False,
    accept_differences: bool = False,
) -> BackupRequest:
    """Return the run that restores.

    Args:
        digest: digest of the reviewed plan.
        confirmation: the typed text, for a restore in place; None: into scratch targets.
    """
    settings: dict[str, Any] = {"targets": list(targets), "plan": digest}
    if types:
        settings["types"] = list(types)
    if at is not None:
        settings["at"] = at
    if backup is not None:
        settings["backup"] = str(backup)
    if tier is not None:
        settings["tier"] = tier
    if accept_differences:
        settings["accept_differences"] = True
    if confirmation is None:
        return BackupRequest(backup_names.SCRATCH_JOB, _op(backup_names.SCRATCH_OP, settings))
    settings["confirmation"] = confirmation
    if without_safety:
        settings["without_safety"] = True
    return BackupRequest(backup_names.RESTORE_JOB, _op(backup_names.RESTORE_OP, settings))


def sweep_request(tiers: Sequence[str]) -> BackupRequest:
    """Return the run that deletes leftovers on ``tiers`` (empty: all)."""
    return BackupRequest(
        backup_names.SWEEP_JOB, _op(backup_names.SWEEP_OP, {"tiers": list(tiers)} if tiers else {})
    )


def hold_request(ref: BackupRef, *, reason: str, release: bool) -> BackupRequest:
    """Return the run that puts a backup on hold or releases it."""
    settings: dict[str, Any] = {"backup": str(ref)}
    settings |= {"release": True} if release else {"reason": reason}
    return BackupRequest(backup_names.HOLD_JOB, _op(backup_names.HOLD_OP, settings))


def accept_request(ref: BackupRef, *, reason: str) -> BackupRequest:
    """Return the run that accepts what a drill found suspicious about a backup."""
    settings = {"backup": str(ref), "reason": reason}
    return BackupRequest(backup_names.ACCEPT_JOB, _op(backup_names.ACCEPT_OP, settings))


def chosen_series(
    catalogue: Catalogue, targets: Sequence[str], types: Sequence[str]
) -> list[Series]:
    """Return the series of ``targets`` (empty: the environment) and ``types`` (empty: all)."""
    services = catalogue.select(targets or [catalogue.environment], dependencies=False)
    return [
        series
        for service in services
        for series in backup_names.series_of(catalogue, service)
        if not types or series.type in types
    ]


def _chosen(
    targets: Sequence[str], backups: Sequence[BackupRef], types: Sequence[str]
) -> dict[str, Any]:
    found = {
        "targets": list(targets),
        "backups": [str(ref) for ref in backups],
        "types": list(types),
    }
    return {name: values for name, values in found.items() if values}


def _paths(catalogue: Catalogue, tier: str, series: Sequence[Series]) -> list[list[str]]:
    return [list(key.path) for key in backup_names.backup_keys(catalogue, tier, series)]


def _op(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {name: {"config": settings}}} if settings else {}
