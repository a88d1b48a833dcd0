"""Check the targets, types, tiers and backups in a command before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmstack_ops.cli.session import Session
from mmstack_ops.domain.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.reference import BackupRef


def known_targets(session: Session, given: Sequence[str] | None) -> list[str]:
    """Return the targets; empty if none were given.

    Raises:
        UnknownNameError: for a target that is not a stack, a service or this environment.
    """
    session.catalogue.select(given or (), dependencies=False)
    return list(given or ())


def known_types(session: Session, given: Sequence[str] | None) -> list[str]:
    """Return the types.

    Raises:
        UnknownNameError: for a type that no service has.
    """
    from mmstack_ops.domain.suggest import require_known

    services = session.catalogue.services.values()
    known = dict.fromkeys(name for entry in services for name in entry.definition.backup.types)
    for name in given or ():
        require_known("backup type", name, list(known))
    return list(given or ())


def known_tiers(session: Session, given: Sequence[str] | None) -> list[str]:
    """Return the tiers.

    Raises:
        UnknownNameError: for a tier that this environment doesn't name.
    """
    from mmstack_ops.domain.suggest import require_known

    for name in given or ():
        require_known("tier", name, session.catalogue.settings.backup.tiers)
    return list(given or ())


def known_tier(session: Session, given: str | None) -> str | None:
    """Return the tier; None if none was given."""
    known_tiers(session, [given] if given is not None else [])
    return given


def find_backup(session: Session, text: str) -> BackupRef:
    """Return the backup that ``text`` names, by its full name or by its id alone.

    Raises:
        InputError: it names no backup, or a backup of another environment.
    """
    from mmstack_ops.domain.backups.reference import is_backup_id, parse_ref

    if is_backup_id(text):
        found = [row.ref for row in session.backups.backups() if row.ref.id == text]
        if not found:
            raise UnknownNameError(
                f"{session.environment} has no backup {text}",
                remedy="`mmstack backup list` shows what there is",
            )
        return found[0]
    ref = parse_ref(text)
    if ref.environment != session.environment:
        raise InputError(
            f"{ref} is a backup of {ref.environment}, not of {session.environment}",
            remedy=f"run it with `-e {ref.environment}`",
        )
    return ref


def targets_and_backups(
    session: Session, given: Sequence[str] | None
) -> tuple[list[str], list[BackupRef]]:
    """Split words into targets and backups: a backup has slashes, or starts with its time."""
    from mmstack_ops.domain.backups.reference import is_backup_id

    words = list(given or ())
    named = [word for word in words if "/" in word or is_backup_id(word)]
    targets = known_targets(session, [word for word in words if word not in named])
    if targets and named:
        raise InputError(
            "targets and backups can't be mixed",
            remedy="name either stacks and services, or backups",
        )
    return targets, [find_backup(session, word) for word in named]
