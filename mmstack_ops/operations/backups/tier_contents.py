"""List the contents of an environment's tiers, and find the tiers that have a backup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmstack_ops.domain.backups.backup_plan import PlannedCopy, Series
from mmstack_ops.domain.backups.copies import missing_copies, nearest_usable
from mmstack_ops.domain.errors import InputError, TierError
from mmstack_ops.operations.backups.tier_set import TierSet

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.artifacts.backup_index import Contents
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.backups.tier import Tier
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.secrets.values import EnvironmentValues


class TierContents:
    """The contents of one environment's tiers. Creating an instance has no side effects.

    Args:
        values: loads the environment's values; called when a tier is first opened.
    """

    def __init__(
        self, project: Project, catalogue: Catalogue, values: Callable[[], EnvironmentValues]
    ) -> None:
        self._environment = catalogue.environment
        self.tiers = TierSet(project, catalogue, values)

    def contents(
        self,
        tiers: Sequence[str] | None = None,
        *,
        sizes: bool = False,
        series: Sequence[Series] | None = None,
    ) -> Contents:
        """Return the backups on ``tiers`` (default: all that are configured).

        Args:
            sizes: see ``list_backups``.
            series: only these series.

        Raises:
            InputError: the environment doesn't use one of them.
        """
        from mmstack_ops.artifacts.backup_index import list_backups

        prefixes = [f"{self._environment}/"]
        if series is not None:
            prefixes = [f"{self._environment}/{one}/" for one in series]
        return list_backups(self.tiers.configured(tiers), prefixes, sizes=sizes)

    def reachable(self) -> list[Tier]:
        """Return the tiers that can be read now, in copy order."""
        found: list[Tier] = []
        for tier in self.tiers.configured():
            try:
                tier.check(writing=False)
            except TierError:
                # Callers need only the available tiers; `mmstack backup tiers` lists the others.
                continue
            found.append(tier)
        return found

    def holders(self, ref: BackupRef) -> list[Tier]:
        """Return the tiers that have a backup, nearest first.

        Raises:
            InputError: none of the tiers that can be read has it.
        """
        found = [tier for tier in self.reachable() if tier.size(ref.manifest_key) is not None]
        if not found:
            raise self._nowhere(ref, self.tiers.names)
        return found

    def nearest(self, ref: BackupRef, wanted: str | None = None) -> Tier:
        """Return the tier ``wanted``, or the nearest that has the backup.

        Raises:
            InputError: the backup isn't there.
            TierUnavailableError: the wanted tier can't be read.
        """
        if wanted is None:
            return self.holders(ref)[0]
        tier = self.tiers.open(wanted)
        tier.check(writing=False)
        if tier.size(ref.manifest_key) is None:
            raise self._nowhere(ref, [wanted])
        return tier

    def source_for(self, ref: BackupRef, target: str) -> Tier:
        """Return the tier to copy a backup from: the one before ``target``, otherwise the nearest.

        A copy that is known to be damaged is used only if there is no other.

        Raises:
            InputError: no other tier has it.
        """
        others = {tier.name: tier for tier in self.holders(ref) if tier.name != target}
        if not others:
            raise self._nowhere(ref, [name for name in self.tiers.names if name != target])
        before = [name for name in self.tiers.sources(target) if name in others]
        order = [*before, *(name for name in others if name not in before)]
        series = [Series(ref.service, ref.type)]
        rows = [row for row in self.contents(order, series=series).rows if row.ref == ref]
        usable = nearest_usable(rows[0], order) if rows else None
        return others[usable or order[0]]

    def missing_copies(self, tier: str) -> tuple[PlannedCopy, ...]:
        """Return what hasn't been copied to ``tier`` yet, newest first.

        The source of each copy is the nearest tier before it that has the backup. Tiers that are
        down or not configured are skipped.

        Raises:
            TierUnavailableError: this tier, or every one before it, isn't configured or is down.
        """
        self.tiers.policy(tier)
        before = self.tiers.before(tier)
        if not before:
            return ()
        self.tiers.open(tier)
        sources = self.tiers.sources(tier)
        if not sources:
            self.tiers.open(before[0])
        contents = self.contents([*sources, tier])
        if tier in contents.down:
            raise contents.down[tier]
        if all(name in contents.down for name in sources):
            raise contents.down[sources[0]]
        return missing_copies(contents.rows, tier, sources)

    def _nowhere(self, ref: BackupRef, names: Sequence[str]) -> InputError:
        return InputError(
            f"there is no backup {ref}",
            why=f"no tier that can be read has it: {', '.join(names)}",
            remedy="`mmstack backup list` shows all backups",
        )
