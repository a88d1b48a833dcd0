"""Compare an environment's networks with everything around them. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmstack_ops.adapters.engine.client import EngineConnection
from mmstack_ops.adapters.engine.reader import EngineReader
from mmstack_ops.adapters.networks.host_ranges import host_ranges
from mmstack_ops.domain.networks.conflicts import ConflictReport, WantedNetwork, check_conflicts

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue


def look_for_conflicts(project: Project, catalogue: Catalogue) -> ConflictReport:
    """Return the report for all networks of an environment.

    Raises:
        EngineUnavailableError: no engine answers.
    """
    config = catalogue.schema.config
    connection = EngineConnection(project.settings.docker_base_url, read_only=True)
    try:
        reader = EngineReader(connection)
        networks = reader.observe(config.project).networks
        pools = reader.info().get("DefaultAddressPools")
    finally:
        connection.close()
    # Another machine's engine has that machine's routes.
    local = connection.base_url.startswith("unix:")
    return check_conflicts(
        [
            WantedNetwork(entry.name, entry.stack, entry.subnet)
            for entry in catalogue.networks.values()
        ],
        owner=config.project,
        environment=catalogue.environment,
        networks=networks,
        pools=[str(pool["Base"]) for pool in pools] if pools else None,
        host=host_ranges(networks) if local else None,
        other_plans=[name for name in config.address_plans if name != catalogue.address_plan_name],
    )
