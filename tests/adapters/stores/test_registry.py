"""Every type the schema can name is there, and says what it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mmstack_ops.adapters import stores
from mmstack_ops.adapters.stores.registry import all_stores, backup_type, retention_strategy
from mmstack_ops.domain.backups import backup_kind
from mmstack_ops.domain.backups.backup_kind import (
    BACKUP_KINDS,
    EVERY_METHOD,
    BackupKind,
    data_rank,
    is_weekly,
    methods,
    offered_types,
    type_names,
)
from mmstack_ops.domain.backups.restore_planner import data_types
from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.schema.retention import MetricsRule
from mmstack_ops.domain.schema.service import Image, Service, ServiceBackup

TOY_STORES = Path(__file__).with_name("toy_stores")


def service(method: str) -> Service:
    return Service(
        description="a service",
        image=Image(variable="IMAGE", default="image:1"),
        backup=ServiceBackup.model_validate({"method": method}),
    )


def test_stores_and_table_know_the_same_types() -> None:
    registered = {(store.method, name) for store in all_stores() for name in store.backup_types}
    assert registered == {(kind.method, kind.name) for kind in BACKUP_KINDS}


def test_a_name_means_the_same_whatever_the_method() -> None:
    for kind in BACKUP_KINDS:
        assert data_rank(kind.name) == kind.data_rank
        assert is_weekly(kind.name) == (kind.schedule == "weekly")


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in methods() for name in offered_types(method)],
)
def test_each_type_says_its_method_and_name(method: str, name: str) -> None:
    kind = backup_type(service(method), name)
    assert kind.name == name
    assert kind.method == (EVERY_METHOD if name == "config" else method)
    assert kind.drilled_in in ("server", "files")


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("name", type_names())
def test_a_type_that_the_method_lacks_is_refused(method: str, name: str) -> None:
    if name in offered_types(method):
        return
    with pytest.raises(InputError, match=f"{method!r} has no type {name!r}"):
        backup_type(service(method), name)


def test_a_name_that_is_in_no_table_is_refused_as_a_literal_is() -> None:
    for wrong in ("tarball", 5, None, ["full"]):
        with pytest.raises(ValidationError) as refused:
            ServiceBackup.model_validate({"types": [wrong]})
        (error,) = refused.value.errors()
        assert error["type"] == "literal_error"
        assert error["msg"] == (
            "Input should be 'full', 'schema', 'data', 'rdb', 'aof', 'collection', 'bucket',"
            " 'models' or 'config'"
        )


def test_a_new_store_is_one_folder_and_a_row_in_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValidationError):
        service("toy")
    monkeypatch.setattr(stores, "__path__", [*stores.__path__, str(TOY_STORES)])
    kinds = (*BACKUP_KINDS, BackupKind("toy", "copy", data_rank=0), BackupKind("toy", "notes"))
    monkeypatch.setattr(backup_kind, "BACKUP_KINDS", kinds)
    toy = service("toy")
    assert backup_type(toy, "copy").name == "copy"
    assert backup_type(toy, "config").name == "config"
    assert offered_types("toy") == ("copy", "notes", "config")
    assert data_types(["notes", "copy", "config"]) == ("copy",)
    assert "toy" in ServiceBackup.model_json_schema()["properties"]["method"]["enum"]
    with pytest.raises(InputError, match="'toy' has no type 'full'"):
        backup_type(toy, "full")
    rule = MetricsRule.model_construct(strategy="toys")  # type: ignore[arg-type]
    assert retention_strategy(rule).needs_running is False
