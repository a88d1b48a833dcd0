"""Open the tiers that the schema declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmstack_ops.domain.interpolation import interpolate, references

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.tier import Tier
    from mmstack_ops.domain.schema.policies import Tier as TierPolicy


def open_tier(
    name: str,
    policy: TierPolicy,
    values: Mapping[str, str],
    *,
    root: Path,
    state: Path,
    where: Callable[[], str] | None = None,
) -> Tier | None:
    """Return the tier, or None if its location is empty: it isn't used on this machine.

    The tier isn't accessed yet; ``Tier.check`` checks whether it can be used.

    Args:
        name: the tier's name in the schema.
        values: the environment's variables.
        root: the project's root, to which relative paths are relative.
        where: returns the place of its location in the schema, for errors.
        state: the environment's state folder, which may contain the copy of a tape's catalogue.

    Raises:
        RenderError: the location refers to a variable that doesn't exist.
        InputError: the location isn't one of this kind.
    """
    told = where or f"backup.tiers.{name}.location"
    location = interpolate(policy.location, values, where=told).strip()
    if not location:
        return None
    if policy.kind == "s3":
        from mmstack_ops.adapters.storage.s3.s3_tier import S3Tier

        return S3Tier.from_policy(name, policy, location, values)
    if policy.kind == "tape":
        from mmstack_ops.adapters.storage.tape.location import open_tape

        return open_tape(
            name,
            _absolute(location, root),
            volume_size=policy.volume_size,
            quota=policy.quota,
            state=state,
        )
    if policy.kind == "mount":
        from mmstack_ops.adapters.storage.mount import MountTier

        return MountTier(name, Path(_absolute(location, root)), quota=policy.quota)
    from mmstack_ops.adapters.storage.local.directory_tier import DirectoryTier

    return DirectoryTier(name, Path(_absolute(location, root)), quota=policy.quota)


def unset_variable(policy: TierPolicy) -> str:
    """Return the variable to set in order to use a tier whose location is empty.

    Returns:
        The variable's name; "its location in the schema" if it refers to none.
    """
    return ", ".join(references(policy.location)) or "its location in the schema"


def _absolute(location: str, root: Path) -> str:
    return str(root / Path(location).expanduser())
