"""All checks, in the order in which causes come before their consequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmstack_ops.adapters.doctor.clock import check_clock
from mmstack_ops.adapters.doctor.dagster_home import check_dagster_home
from mmstack_ops.adapters.doctor.disk import check_disk
from mmstack_ops.adapters.doctor.engine import check_engine
from mmstack_ops.adapters.doctor.finding import Finding
from mmstack_ops.adapters.doctor.gpu import check_gpu
from mmstack_ops.adapters.doctor.images import check_images
from mmstack_ops.adapters.doctor.names import check_names
from mmstack_ops.adapters.doctor.permissions import check_permissions
from mmstack_ops.adapters.doctor.ports import check_ports
from mmstack_ops.adapters.doctor.secret_store import check_secrets
from mmstack_ops.adapters.doctor.surroundings import Surroundings

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue

_CHECKS = (
    check_engine,
    check_permissions,
    check_disk,
    check_clock,
    check_names,
    check_gpu,
    check_ports,
    check_secrets,
    check_images,
    check_dagster_home,
)


def examine(project: Project, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield what every check finds. Looks only: nothing is changed."""
    around = Surroundings(project, catalogue)
    for check in _CHECKS:
        yield from check(around)
