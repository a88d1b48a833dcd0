"""The tiers of one environment: their names, locations and status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mmstack_ops.domain.backups.copies import missing_copies
from mmstack_ops.domain.backups.status import BackupRow, TierStatus
from mmstack_ops.domain.errors import InputError, TierError, TierUnavailableError
from mmstack_ops.domain.interpolation import interpolate, references
from mmstack_ops.domain.suggest import did_you_mean
from mmstack_ops.domain.units import format_seconds

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.backups.tier import Tier
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.schema.policies import Tier as TierPolicy
    from mmstack_ops.domain.secrets.values import EnvironmentValues


class TierSet:
    """The tiers of one environment, each opened once. Creating an instance has no side effects.

    Args:
        values: loads the environment's values; called when a tier is first opened.
    """

    def __init__(
        self, project: Project, catalogue: Catalogue, values: Callable[[], EnvironmentValues]
    ) -> None:
        self._project = project
        self._catalogue = catalogue
        self._load_values = values
        self._opened: dict[str, Tier | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the environment's tiers, in copy order."""
        wanted = set(self._catalogue.settings.backup.tiers)
        return tuple(sorted(wanted, key=lambda name: (self._depth(name), name)))

    def _depth(self, name: str) -> int:
        policies = self._catalogue.schema.backup.tiers
        depth = 0
        after = policies[name].after
        while after is not None:
            depth, after = depth + 1, policies[after].after
        return depth

    def before(self, name: str) -> tuple[str, ...]:
        """Return the tiers before ``name`` that the environment uses, nearest first."""
        policies = self._catalogue.schema.backup.tiers
        found: list[str] = []
        before = policies[name].after
        while before is not None:
            if before in self.names:
                found.append(before)
            before = policies[before].after
        return tuple(found)

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the tiers from which ``name`` is copied, nearest first.

        Tiers that aren't configured on this machine are skipped. Empty for the first tier.
        """
        return tuple(one for one in self.before(name) if self._is_configured(one))

    def _is_configured(self, name: str) -> bool:
        try:
            self.open(name)
        except TierUnavailableError:
            return False
        return True

    def policy(self, name: str) -> TierPolicy:
        """Return the schema's policy of a tier.

        Raises:
            InputError: the environment doesn't use a tier of this name.
        """
        if name not in self.names:
            raise InputError(
                f"{self._catalogue.environment} has no tier {name!r}"
                f"{did_you_mean(name, self.names)}",
                remedy=f"use one of: {', '.join(self.names)}",
            )
        return self._catalogue.schema.backup.tiers[name]

    @cached_property
    def _values(self) -> EnvironmentValues:
        return self._load_values()

    def open(self, name: str) -> Tier:
        """Return a tier.

        Raises:
            TierUnavailableError: the tier isn't configured on this machine. The error names the
                variable.
            InputError: the environment doesn't use the tier.
        """
        policy = self.policy(name)
        if name not in self._opened:
            from mmstack_ops.adapters.storage.open_tier import open_tier

            self._opened[name] = open_tier(
                name,
                policy,
                self._values.variables,
                root=self._project.root,
                state=self._project.environment_state(self._catalogue.environment),
                where=lambda: self._place(name),
            )
        tier = self._opened[name]
        if tier is None:
            variables = ", ".join(references(policy.location)) or "its location"
            raise TierUnavailableError(
                f"tier {name} isn't configured in {self._catalogue.environment}",
                why=f"{variables} is empty",
                remedy=f"set {variables} in the environment's local.env",
            )
        return tier

    def _place(self, name: str) -> str:
        return self._project.place([("backup", "tiers", name, "location")])

    def configured(self, names: Sequence[str] | None = None) -> list[Tier]:
        """Return the tiers of ``names`` (default: all) that are configured, in copy order.

        Raises:
            InputError: the environment doesn't use one of them.
        """
        found: list[Tier] = []
        for name in self.names if names is None else names:
            try:
                found.append(self.open(name))
            except TierUnavailableError:
                # Not in use on this machine; `tiers` and the quota check report it.
                continue
        return found

    def status(self, rows: Sequence[BackupRow]) -> tuple[TierStatus, ...]:
        """Return the status of each tier, including tiers that are down.

        Args:
            rows: all backups of the environment.
        """
        return tuple(self._status(name, rows) for name in self.names)

    def _status(self, name: str, rows: Sequence[BackupRow]) -> TierStatus:
        policy = self.policy(name)
        settings = {"retention": format_seconds(policy.retention)}
        if policy.object_lock is not None:
            settings["object lock"] = format_seconds(policy.object_lock)
        here = sum(name in row.copies for row in rows)
        missing = len(missing_copies(rows, name, self.sources(name)))
        location = interpolate(
            policy.location, self._values.variables, where=lambda: self._place(name)
        )
        try:
            tier = self.open(name)
            tier.check(writing=False)
            usage = tier.usage()
        except TierError as error:
            problem = "; ".join(filter(None, (error.what, error.why, error.remedy)))
            return TierStatus(
                name=name,
                kind=policy.kind,
                location=location if self._opened.get(name) is not None else "",
                available=False,
                problem=problem,
                quota=policy.quota,
                settings=settings,
            )
        return TierStatus(
            name=name,
            kind=policy.kind,
            location=location,
            available=True,
            used=usage.used,
            quota=usage.quota,
            free=usage.free,
            backups=here,
            missing=missing,
            settings=settings,
        )
