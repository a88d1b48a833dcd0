"""The state of a restore of a PostgreSQL server."""

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
    """A database of the backup, and its names during the restore."""

    name: str
    title: str
    """Its name, quoted by the server."""
    payloads: dict[str, Payload]
    """Role → payload."""
    new: str
    """The name of the copy until it replaces the old database."""
    old: str
    """The name of the old database from then on."""
    live: bool = False
    """Whether a database with this name exists."""
    kept: bool = False
    """Whether the old database holds something that the backup doesn't; it is kept as ``old``."""


@dataclass
class Work:
    """A restore in progress."""

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
    """Whether there is space for both: the old databases are kept until the new are compared."""
    created: list[str] = field(default_factory=list)
    """Roles that the server didn't have."""
    without: set[str] = field(default_factory=set)
    """Tablespaces that couldn't be created."""
    refused: dict[str, str] = field(default_factory=dict)
    """What couldn't be restored → why."""

    @property
    def record(self) -> dict[str, str]:
        """What a later run needs to know to clean up after this one."""
        return {
            "databases": json.dumps([[one.new, one.old] for one in self.databases]),
            "keep": json.dumps([one.old for one in self.databases if one.kept]),
            "roles": json.dumps(self.created),
            "via": self.via if self.via != MAINTENANCE else "",
        }
