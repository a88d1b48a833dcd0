"""Run all checks, in an order in which causes come before their consequences."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mmstack_ops.domain.suggest import require_known
from mmstack_ops.operations.doctor.clock import check_clock
from mmstack_ops.operations.doctor.dagster_home import check_dagster_home
from mmstack_ops.operations.doctor.disk import check_disk
from mmstack_ops.operations.doctor.engine import check_engine
from mmstack_ops.operations.doctor.finding import Finding
from mmstack_ops.operations.doctor.gpu import check_gpu
from mmstack_ops.operations.doctor.images import check_images
from mmstack_ops.operations.doctor.name_resolution import check_names
from mmstack_ops.operations.doctor.permissions import check_permissions
from mmstack_ops.operations.doctor.ports import check_ports
from mmstack_ops.operations.doctor.secret_store import check_secrets
from mmstack_ops.operations.doctor.surroundings import Surroundings

if TYPE_CHECKING:
    from mmstack_ops.adapters.project import Project
    from mmstack_ops.domain.catalogue.resolve import Catalogue

_CHECKS = {
    "engine": check_engine,
    "permissions": check_permissions,
    "disk": check_disk,
    "clock": check_clock,
    "dns": check_names,
    "gpu": check_gpu,
    "ports": check_ports,
    "secrets": check_secrets,
    "images": check_images,
    "dagster": check_dagster_home,
}


def examine(
    project: Project, catalogue: Catalogue, only: Collection[str] = ()
) -> Iterator[Finding]:
    """Yield the findings of the checks. Changes nothing.

    Args:
        only: names of the checks to run; empty: all checks.

    Raises:
        UnknownNameError: a name is no check.
    """
    for name in only:
        require_known("check", name, _CHECKS)
    around = Surroundings(project, catalogue)
    for name, check in _CHECKS.items():
        if not only or name in only:
            yield from check(around)
