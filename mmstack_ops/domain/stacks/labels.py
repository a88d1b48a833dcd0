"""Labels of the containers, networks and volumes that mmstack-ops creates.

Compose's own labels make ``docker compose ls/ps/logs/down`` work on our containers
(docker/compose, pkg/api/labels.go); our labels hold what reconciling needs.
"""

from __future__ import annotations

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
CONFIG_HASH = "com.docker.compose.config-hash"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
VERSION = "com.docker.compose.version"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_FILES = "com.docker.compose.project.config_files"
DEPENDS_ON = "com.docker.compose.depends_on"
IMAGE = "com.docker.compose.image"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"

MANAGED = "io.mmstack.managed"
OWNER = "io.mmstack.project"
"""The schema's `config.project`: it separates two control planes on one engine."""
ENVIRONMENT = "io.mmstack.environment"
STACK = "io.mmstack.stack"
VOLUME_ID = "io.mmstack.volume-id"
"""A random id, set when a volume is created: the engine gives volumes no id, and their
``CreatedAt`` changes with the files in them (moby 20.10, volume/local)."""
SPEC = "io.mmstack.spec"
"""The specification of the container as JSON, with secrets as keyed digests."""
