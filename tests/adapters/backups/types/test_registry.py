"""Every type the schema can name is there, and says what it belongs to."""

from __future__ import annotations

from typing import get_args

import pytest

from mmstack_ops.adapters.backups.types.registry import EVERY_METHOD, REGISTRY, backup_type
from mmstack_ops.domain.backups.kinds import TYPES, declared_types, offers
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.schema.service import (
    BackupMethod,
    BackupTypeName,
    Image,
    Service,
    ServiceBackup,
)


def service(method: str) -> Service:
    return Service(
        description="a service",
        image=Image(variable="IMAGE", default="image:1"),
        backup=ServiceBackup.model_validate({"method": method}),
    )


def test_registry_and_rules_know_the_same_types() -> None:
    assert TYPES.keys() == set(get_args(BackupMethod))
    known = {(method, kind) for method, kinds in TYPES.items() for kind in kinds}
    assert known | {(EVERY_METHOD, "config")} == REGISTRY.keys()


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in TYPES for name in declared_types(method)],
)
def test_each_type_says_its_method_and_name(method: str, name: str) -> None:
    kind = backup_type(service(method), name)
    assert kind.name == name
    assert name == "config" or kind.method == method
    assert kind.drilled_in in ("server", "files")


@pytest.mark.parametrize("method", get_args(BackupMethod))
@pytest.mark.parametrize("name", get_args(BackupTypeName))
def test_a_type_that_the_method_lacks_is_refused(method: str, name: str) -> None:
    if offers(method, name):
        return
    with pytest.raises(InputError, match=f"{method!r} has no type {name!r}"):
        backup_type(service(method), name)
