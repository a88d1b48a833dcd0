"""What every verb works on: the project and the environment the operator named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmstack_ops.adapters.backups.facade import Backups
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.adapters.retention.control import LiveRetention
    from mmstack_ops.adapters.stacks.control import StackControl
    from mmstack_ops.adapters.wipe.control import WipeControl
    from mmstack_ops.domain.catalogue.resolve import Catalogue

DEFAULT_ENVIRONMENT = "development"


class Session:
    """One command's project and environment. Making one reads nothing.

    Args:
        root: the project's folder; None to look for it.
        environment: an environment's name or alias.
    """

    def __init__(self, root: Path | None = None, environment: str = DEFAULT_ENVIRONMENT) -> None:
        self._root = root
        self._environment = environment

    def named(self, environment: str | None) -> Session:
        """Return the session of ``environment``, or this one when None."""
        return self if environment is None else Session(self._root, environment)

    @cached_property
    def project(self) -> Project:
        """The opened project."""
        from mmstack_ops.adapters.project import open_project

        return open_project(self._root)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The environment's catalogue.

        Raises:
            SchemaError: when the schema isn't valid.
            UnknownNameError: when there is no such environment.
        """
        return self.control.catalogue

    @cached_property
    def control(self) -> StackControl:
        """What acts on the environment's stacks."""
        from mmstack_ops.adapters.stacks.control import StackControl

        return StackControl(self.project, self._environment)

    @cached_property
    def backups(self) -> Backups:
        """What acts on the environment's backups."""
        from mmstack_ops.adapters.backups.control import BackupControl

        return BackupControl(self.project, self.environment)

    @cached_property
    def live_retention(self) -> LiveRetention:
        """What lets go what is too old on the environment's services."""
        from mmstack_ops.adapters.retention.control import LiveRetention

        return LiveRetention(self.project, self.environment, self.backups)

    @cached_property
    def wipes(self) -> WipeControl:
        """What deletes the environment's data on purpose."""
        from mmstack_ops.adapters.wipe.control import WipeControl

        return WipeControl(self.project, self.environment, self.control, self.backups)

    @property
    def environment(self) -> str:
        """The environment's full name, also where an alias was given."""
        return self.catalogue.environment

    def targets(self, given: Sequence[str] | None) -> list[str]:
        """Return ``given``, or the whole environment when nothing was given.

        Raises:
            UnknownNameError: for a target that is no stack, service or this environment.
        """
        wanted = list(given or [self.environment])
        self.catalogue.select(wanted, dependencies=False)
        return wanted
