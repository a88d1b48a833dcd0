"""Samples of a scripted Prometheus: every failure is told, and what went before it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from mmstack_ops.adapters.stores.backup_type import Instance
from mmstack_ops.adapters.stores.prometheus.retention_samples import PrometheusSamples
from mmstack_ops.domain.errors import BackupError, CancelledError, RetentionError
from mmstack_ops.domain.schema.retention import MetricsRule
from tests.adapters.stores.retention_sites import Folders, scripted, site

KIND = PrometheusSamples()
RULE = MetricsRule(strategy="metrics")
HOUR = 3600.0


@dataclass
class Server:
    """One sample an hour, in a block that begins where it always did, whatever is deleted of it.

    Args:
        fails: end of a path → what it answers instead.
        cancels: set once samples are deleted.
    """

    hours: int = 240
    fails: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    cancels: Folders = field(default_factory=Folders)
    room: int = 1000
    cut: bool = False

    def __post_init__(self) -> None:
        self.begin = time.time() - self.hours * HOUR
        self.samples = [self.begin + hour * HOUR for hour in range(self.hours)]

    def answer(self, method: str, address: str) -> tuple[int, bytes]:
        url = urlsplit(address)
        given = {name: values[0] for name, values in parse_qs(url.query).items()}
        what = url.path.rpartition("/")[2]
        if what in self.fails:
            return self.fails[what]
        if what == "metrics":
            return 200, (
                f"prometheus_tsdb_lowest_timestamp_seconds {self.begin}\n"
                f"prometheus_tsdb_storage_blocks_bytes {self.room}\n"
            ).encode()
        if what == "delete_series":
            assert method == "POST"
            self.samples = [one for one in self.samples if one > float(given["end"])]
            if self.cut:
                self.cancels.cancel.set()
            return 204, b""
        if what == "clean_tombstones":
            self.room = len(self.samples)
            return 204, b""
        answers: dict[str, object] = {
            "query": {"resultType": "scalar", "result": [time.time(), str(time.time())]},
            "runtimeinfo": {"storageRetention": "90d"},
            "series": [
                {"__name__": "up"}
                for one in self.samples
                if what == "series" and float(given["start"]) <= one <= float(given["end"])
            ][:1],
        }
        return 200, json.dumps({"status": "success", "data": answers[what]}).encode()


@pytest.fixture
def prometheus() -> Iterator[tuple[Instance, Server]]:
    server = Server()
    with scripted("prometheus", server.answer) as instance:
        yield instance, server


def test_what_is_left_of_a_block_is_not_deleted_again(
    prometheus: tuple[Instance, Server],
) -> None:
    instance, server = prometheus
    here = site(instance, days=5)
    assert KIND.look(here, RULE).expired in (119, 120)
    gone = KIND.clean(here, RULE)
    assert gone.count in (119, 120)
    assert gone.freed_bytes == 1000 - len(server.samples)
    assert min(server.samples) > here.before.timestamp()
    assert KIND.look(here, RULE).expired == 0


@pytest.mark.parametrize("what", ["metrics", "query", "series", "runtimeinfo", "delete_series"])
@pytest.mark.parametrize(
    "answer", [(503, b"starting"), (500, b'{"status": "success", "data": []}')]
)
def test_every_answer_but_a_good_one_is_an_error_and_nothing_goes(
    prometheus: tuple[Instance, Server], what: str, answer: tuple[int, bytes]
) -> None:
    instance, server = prometheus
    server.fails = {what: answer}
    with pytest.raises((BackupError, RetentionError)) as raised:
        KIND.clean(site(instance, days=5), RULE)
    assert f"status {answer[0]}" in raised.value.why
    assert len(server.samples) == server.hours


def test_room_that_was_not_freed_is_told_with_what_went(
    prometheus: tuple[Instance, Server],
) -> None:
    instance, server = prometheus
    server.fails = {"clean_tombstones": (500, b"{}")}
    here = site(instance, days=5)
    with pytest.raises(RetentionError, match=r"1(19|20) samples went, then: .* takes room"):
        KIND.clean(here, RULE)
    server.fails = {}
    assert KIND.look(here, RULE).expired == 0


def test_cancelled_half_way_says_what_went(prometheus: tuple[Instance, Server]) -> None:
    instance, server = prometheus
    server.cut = True
    with pytest.raises(CancelledError, match=r"1(19|20) samples went before"):
        KIND.clean(site(instance, days=5, folders=server.cancels), RULE)


def test_a_server_without_samples_has_nothing_to_delete(
    prometheus: tuple[Instance, Server],
) -> None:
    """It tells the largest number it has as its oldest sample's time."""
    instance, server = prometheus
    server.begin = 9.223372036854776e15
    found = KIND.look(site(instance, days=5), RULE)
    assert (found.total, found.expired, found.oldest) == (0, 0, None)
