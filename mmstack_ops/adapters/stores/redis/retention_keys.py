"""Set a time to live on Redis keys, without KEYS and without deleting anything at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from mmstack_ops.adapters.stores.redis.server import RedisServer
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import KeysRule

# Keys that a server examines per SCAN, and commands per pipeline: a millisecond or two.
_BATCH = 1_000
_NO_END = -1


class RedisKeys:
    """Matching keys: they expire within the rule's age of the clean-up; earlier expiries stay."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: KeysRule) -> Found:
        """Count keys; see ``Strategy.look``."""
        total = endless = late = 0
        with RedisServer.of(site.instance).connect(rule.database) as client:
            seconds, microseconds = client.time()
            for keys in _matching(client, rule):
                site.check()
                for left in _times_left(client, keys):
                    # -2: the key has expired since.
                    total += left >= _NO_END
                    endless += left == _NO_END
                    late += left > site.age * 1000
        return Found(
            things="keys",
            total=total,
            expired=endless + late,
            clock=from_epoch(seconds + microseconds / 1e6),
            notes=(f"{endless} without an end get one, {late} a nearer one",)
            if endless or late
            else (),
            passing=True,
        )

    def clean(self, site: Site, rule: KeysRule) -> Gone:
        """Set the time to live of the keys; see ``Strategy.clean``."""
        seconds = max(1, round(site.age))
        given = 0
        with RedisServer.of(site.instance).connect(rule.database) as client:
            for keys in _matching(client, rule):
                site.check()
                pipeline = client.pipeline(transaction=False)
                for key in keys:
                    # LT (Redis 7) never extends a time to live, but sets a missing one.
                    pipeline.expire(key, seconds, lt=True)
                given += sum(bool(answer) for answer in pipeline.execute())
        return Gone(given, None, (f"they end within {seconds} s",))


def _matching(client: Any, rule: KeysRule) -> Iterator[list[bytes]]:
    """Yield matching keys in batches; SCAN may return a key twice."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=rule.pattern, count=_BATCH)
        yield keys
        if not cursor:
            return


def _times_left(client: Any, keys: list[bytes]) -> list[int]:
    """Return each key's time to live in milliseconds: -1 if it has none, -2 if it expired."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.pttl(key)
    found: list[int] = pipeline.execute()
    return found
