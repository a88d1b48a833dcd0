"""List the tape volumes of an environment, and recycle those that contain nothing to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.domain.errors import InputError, UnknownNameError
from mmstack_ops.domain.suggest import did_you_mean

if TYPE_CHECKING:
    from mmstack_ops.adapters.storage.tape.tape_tier import TapeTier
    from mmstack_ops.operations.backups.tier_set import TierSet


class TapeVolumes:
    """The volumes of tape tiers that manage their own volumes. LTFS is an ordinary file system.

    Args:
        tiers: the environment's tiers.
    """

    def __init__(self, tiers: TierSet) -> None:
        self._tiers = tiers

    def volumes(self, tier: str | None = None) -> tuple[TapeVolume, ...]:
        """Return the volumes of all tape tiers, or of one, in the order of writing.

        Raises:
            InputError: the environment doesn't use ``tier``, or the tier keeps no volumes.
            TierError: a tier can't be used now.
        """
        return tuple(
            TapeVolume(
                tape.name,
                one.name,
                one.sequence,
                one.at_hand,
                one.stored,
                one.live,
                one.damage,
            )
            for tape in self._tapes(tier)
            for one in tape.volumes()
        )

    def find(self, name: str, tier: str | None = None) -> TapeVolume:
        """Return a volume by its name.

        Raises:
            UnknownNameError: no tape tier has it, or several have it.
        """
        every = self.volumes(tier)
        found = [one for one in every if one.name == name]
        if len(found) != 1:
            known = [one.name for one in every]
            what = "several volumes are called" if found else "there is no volume"
            raise UnknownNameError(
                f"{what} {name}{'' if found else did_you_mean(name, known)}",
                remedy="name its tier with --tier"
                if found
                else "`mmstack tape volumes` lists them",
            )
        return found[0]

    def recycle(self, name: str, tier: str, *, stored: int) -> TapeVolume:
        """Make a volume blank; return its previous description.

        The tier, as its only writer, checks again that nothing on the volume is kept. If the
        process is killed, the volume is either blank or unchanged.

        Args:
            stored: bytes on the volume when it was last checked.

        Raises:
            ImmutableError: something on the volume is kept, or it is damaged.
            PlanStaleError: the volume changed since it was last checked.
        """
        volume = self.find(name, tier)
        volume.raise_if_changed(stored)
        volume.raise_if_kept()
        (tape,) = self._tapes(tier)
        tape.recycle(name)
        return volume

    def _tapes(self, tier: str | None) -> list[TapeTier]:
        from mmstack_ops.adapters.storage.tape.tape_tier import TapeTier

        names = None if tier is None else [tier]
        found = [one for one in self._tiers.configured(names) if isinstance(one, TapeTier)]
        if tier is not None and not found:
            raise InputError(
                f"tier {tier} keeps no tape volumes",
                why="it is no tape, isn't configured on this machine, or is an LTFS mount",
                remedy="`mmstack backup tiers` says what each tier is",
            )
        return found
