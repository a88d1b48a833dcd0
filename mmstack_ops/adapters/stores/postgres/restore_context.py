"""What a restore of a PostgreSQL server works on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from mmstack_ops.adapters.stores.backup_type import Instance, OpenArtifact, Workbench
from mmstack_ops.adapters.stores.postgres.globals import Globals
from mmstack_ops.adapters.stores.postgres.server import MAINTENANCE, Server
from mmstack_ops.domain.backups.facts import Facts
from mmstack_ops.domain.backups.manifest import Payload


@dataclass
class Database:
    """A database of the backup, and the names it has on its way."""

    name: str
    title: str
    """Its name, quoted by the server."""
    payloads: dict[str, Payload]
    """Role → payload."""
    new: str
    """What the copy is called until it takes the place of the old one."""
    old: str
    """What the old one is called from then on."""
    live: bool = False
    """There is one now."""
    kept: bool = False
    """It holds something that the backup doesn't: it stays under its other name."""


@dataclass
class Work:
    """A restore under way."""

    bench: Workbench
    instance: Instance
    server: Server
    artifact: OpenArtifact
    facts: Facts
    rows: bool
    databases: list[Database]
    roles: Globals
    via: str
    """A database to connect to while others are renamed."""
    beside: bool = True
    """There is room for both: the old databases stay until the new ones were compared."""
    created: list[str] = field(default_factory=list)
    """Roles that the server didn't have."""
    without: set[str] = field(default_factory=set)
    """Tablespaces that couldn't be made."""
    refused: dict[str, str] = field(default_factory=dict)
    """What couldn't be restored → why."""

    @property
    def record(self) -> dict[str, str]:
        """What a later run needs to know to make good what this one leaves."""
        return {
            "databases": json.dumps([[one.new, one.old] for one in self.databases]),
            "keep": json.dumps([one.old for one in self.databases if one.kept]),
            "roles": json.dumps(self.created),
            "via": self.via if self.via != MAINTENANCE else "",
        }
