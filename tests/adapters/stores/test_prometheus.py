"""Prometheus' type with a volume in a folder, and a server that makes snapshots as told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance, Workbench
from mmstack_ops.adapters.stores.instances import tool_instance
from mmstack_ops.adapters.stores.prometheus import full as prometheus_full
from mmstack_ops.adapters.stores.prometheus.full import PrometheusFull
from mmstack_ops.domain.schema.service import Mount
from tests.adapters.stores.stores import JournallingBench, back_up

GOOD, CORRUPT, HEAD = (f"01HZZZZZZZZZZZZZZZZZZZZZZ{letter}" for letter in "ABC")


def block(folder: Path) -> None:
    (folder / "chunks").mkdir(parents=True)
    (folder / "chunks" / "000001").write_text(folder.name)
    (folder / "meta.json").write_text("{}")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    volume = tmp_path / "volume"
    for name in (GOOD, CORRUPT):
        block(volume / name)
    (volume / "wal").mkdir()
    return volume


@pytest.fixture
def at(volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Instance, Workbench]:
    def ask(instance: Instance, method: str, path: str) -> Any:
        if "snapshot" not in path:
            return {"version": "2.42.0"}
        made = volume / "snapshots" / "20260131T010000Z-1"
        shutil.copytree(volume / GOOD, made / GOOD)
        block(made / HEAD)
        # A block that is written meanwhile is one of a later backup.
        block(volume / HEAD.replace("C", "D"))
        return {"name": made.name}

    monkeypatch.setattr(prometheus_full, "ask", ask)

    class Bench(JournallingBench):
        def volume_path(self, volume_name: str) -> Path | None:
            return volume

    made = tool_instance("prometheus:1", "testing", "prometheus")
    mounts = [Mount(target="/prometheus", volume="prometheus_data")]
    instance = replace(
        made,
        definition=made.definition.model_copy(update={"mounts": mounts}),
        volumes={"/prometheus": "volume"},
        running=True,
    )
    return instance, cast(Workbench, Bench(state=tmp_path))


def test_a_block_that_the_server_cannot_read_is_named_and_stops_nothing(
    at: tuple[Instance, Workbench], volume: Path, tmp_path: Path
) -> None:
    instance, bench = at
    facts = back_up(PrometheusFull(), instance, tmp_path / "tier", at=bench).facts()
    assert facts.figures["blocks"] == 2
    assert set(facts.not_covered) == {f"prometheus_data/{CORRUPT}"}
    assert "left this block out" in facts.not_covered[f"prometheus_data/{CORRUPT}"]
    assert not list((volume / "snapshots").iterdir())


def test_samples_out_of_order_that_are_in_no_block_are_named(
    at: tuple[Instance, Workbench], volume: Path, tmp_path: Path
) -> None:
    instance, bench = at
    (volume / "wbl").mkdir()
    (volume / "wbl" / "00000000").write_bytes(b"")
    shutil.rmtree(volume / CORRUPT)
    facts = back_up(PrometheusFull(), instance, tmp_path / "tier", at=bench).facts()
    assert not facts.not_covered
    (volume / "wbl" / "00000000").write_bytes(b"x")
    shutil.rmtree(volume / HEAD.replace("C", "D"))
    facts = back_up(PrometheusFull(), instance, tmp_path / "tier", days=1, at=bench).facts()
    assert set(facts.not_covered) == {"prometheus_data/wbl"}


@pytest.mark.parametrize("by", ["name", "service"])
def test_snapshots_of_the_live_server_are_left_to_it(
    at: tuple[Instance, Workbench], volume: Path, by: str
) -> None:
    instance, bench = at
    live = replace(instance, name="lab-testing-prometheus-1")
    scratch = replace(instance, name="lab-testing-scratch-prometheus-1", scratch=True)
    left = volume / "snapshots" / "left"
    left.mkdir(parents=True)
    key = f"prometheus-snapshot {getattr(live, by)}"
    with pytest.raises(KeyboardInterrupt), bench.journal(key, {"snapshot": "left"}):
        raise KeyboardInterrupt
    prometheus_full._delete_leftovers(bench, scratch)
    assert left.exists()
    prometheus_full._delete_leftovers(bench, live)
    assert not left.exists()
