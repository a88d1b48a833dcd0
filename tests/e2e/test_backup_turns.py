"""Two backups of one service, begun together: one after the other, and both good."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.product import Product, end_of

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.fault]


def _slowly(schema: dict[str, Any]) -> None:
    # A second's work each at least: what would overlap does.
    schema["backup"]["rate_limit"] = "1MB"


def test_two_backups_at_once_take_turns(product: Product) -> None:
    product.change_schema(_slowly)
    product.done("start", "redis")
    fill = (
        'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli eval'
        ' "for i=1,4000 do local s={} for j=1,32 do s[j]=tostring(math.random()) end'
        " redis.call('set', 'key:'..i, table.concat(s)) end\" 0"
    )
    code, output = product.one("redis").exec_run(["sh", "-c", fill])
    assert code == 0, output
    wanted = ("backup", "run", "redis", "--type", "rdb", "--no-copy", "--json")
    begun = [product.begin(*wanted) for _ in range(2)]
    ended = [end_of(process, seconds=180) for process in begun]
    assert [one.code for one in ended] == [0, 0], [one.text for one in ended]
    names = [one.document()["runs"][0]["results"][0]["backup"] for one in ended]
    assert len(set(names)) == 2
    times = []
    for name in names:
        manifest = product.done("backup", "show", name, "--json").document()
        times.append(_span(manifest))
    (first_begun, first_ended), (second_begun, _) = sorted(times)
    # A backup is named by its second.
    assert first_begun < first_ended.replace(microsecond=0) <= second_begun
    # The second said what it waited for.
    assert any("waiting for" in one.stderr for one in ended)
    for name in names:
        product.done("verify", name)


def _span(manifest: dict[str, Any]) -> tuple[datetime, datetime]:
    found = manifest.get("manifest", manifest)
    return datetime.fromisoformat(found["created"]), datetime.fromisoformat(found["finished"])
