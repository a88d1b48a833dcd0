"""The project and the environment of a command."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.operations.backups.backup_operations import BackupOperations
    from mmstack_ops.operations.retention.retention_operations import LiveRetention
    from mmstack_ops.operations.stacks.stack_operations import StackOperations
    from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

DEFAULT_ENVIRONMENT = "development"


class Session:
    """The project and the environment of one command. Creating a session reads nothing.

    Args:
        root: the project's folder; None to search for it.
        environment: an environment's name or alias.
    """

    def __init__(self, root: Path | None = None, environment: str = DEFAULT_ENVIRONMENT) -> None:
        self._root = root
        self._environment = environment

    def named(self, environment: str | None) -> Session:
        """Return the session of ``environment``, or this one if it is None."""
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
            SchemaError: if the schema isn't valid.
            UnknownNameError: if there is no such environment.
        """
        return self.control.catalogue

    @cached_property
    def control(self) -> StackOperations:
        """The operations on the environment's stacks."""
        from mmstack_ops.operations.stacks.stack_operations import StackOperations

        return StackOperations(self.project, self._environment)

    @cached_property
    def backups(self) -> BackupOperations:
        """The operations on the environment's backups."""
        from mmstack_ops.operations.backups.backup_operations import BackupOperations

        return BackupOperations(self.project, self.environment)

    @cached_property
    def live_retention(self) -> LiveRetention:
        """The retention of live data of the environment's services."""
        from mmstack_ops.operations.retention.retention_operations import LiveRetention

        return LiveRetention(self.project, self.environment, self.backups)

    @cached_property
    def wipes(self) -> WipeOperations:
        """The operations that wipe the environment's data."""
        from mmstack_ops.operations.wipe.wipe_operations import WipeOperations

        return WipeOperations(self.project, self.environment, self.control, self.backups)

    @property
    def environment(self) -> str:
        """The environment's full name, even if an alias was given."""
        return self.catalogue.environment

    def targets(self, given: Sequence[str] | None) -> list[str]:
        """Return ``given``, or the whole environment if nothing was given.

        Raises:
            UnknownNameError: for a target that is not a stack, a service or this environment.
        """
        wanted = list(given or [self.environment])
        self.catalogue.select(wanted, dependencies=False)
        return wanted

    def present_targets(self, given: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
        """Return ``given`` as ``targets`` does, and those of them that have left the schema.

        A service that is no longer in the schema is accepted while it has containers. So is a
        stack: it is replaced by its services.

        Returns:
            The targets, and service → stack of those that have left the schema.

        Raises:
            UnknownNameError: for a target that is none of these.
        """
        from mmstack_ops.domain.errors import EngineError, UnknownNameError

        try:
            return self.targets(given), {}
        except UnknownNameError as unknown:
            try:
                undeclared = self.control.undeclared()
            except EngineError:
                raise unknown from None
        wanted: list[str] = []
        removed: dict[str, str] = {}
        stacks = self.catalogue.schema.stacks
        for target in given or ():
            found = {
                name: stack
                for name, stack in undeclared.items()
                if target == name or (target == stack and stack not in stacks)
            }
            removed |= found
            wanted += found or [target]
        self.catalogue.select([t for t in wanted if t not in removed], dependencies=False)
        return wanted, removed
