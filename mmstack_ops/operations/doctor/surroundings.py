"""What the checks examine. The engine is queried once for all checks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.domain.errors import EngineError

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.domain.stacks.observed import ObservedState

# The doctor must answer soon, even if the engine hangs.
_ENGINE_TIMEOUT = 10.0


class Surroundings:
    """A project, one of its environments, and their engine.

    Args:
        project: the opened project.
        catalogue: the environment's catalogue.
    """

    def __init__(self, project: Project, catalogue: Catalogue) -> None:
        self.project = project
        self.catalogue = catalogue
        self.connection = EngineConnection(
            project.settings.docker_base_url, read_only=True, timeout=_ENGINE_TIMEOUT
        )
        self.reader = EngineReader(self.connection)

    @cached_property
    def _info(self) -> dict[str, Any] | EngineError:
        try:
            return self.reader.info()
        except EngineError as error:
            return error

    @property
    def engine_error(self) -> EngineError | None:
        """Why the engine doesn't answer; None if it does."""
        return self._info if isinstance(self._info, EngineError) else None

    @property
    def info(self) -> dict[str, Any]:
        """The engine's ``/info``.

        Raises:
            EngineError: the engine doesn't answer.
        """
        if isinstance(self._info, EngineError):
            raise self._info
        return self._info

    @property
    def engine_is_local(self) -> bool:
        """Whether the engine shares this machine's ports, disks and clock."""
        return self.connection.base_url.startswith("unix:")

    @cached_property
    def observed(self) -> ObservedState:
        """The state of the engine, read once.

        Raises:
            EngineError: the engine doesn't answer.
        """
        return self.reader.observe(self.catalogue.schema.config.project)
