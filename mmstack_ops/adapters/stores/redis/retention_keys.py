"""Redis keys get a time to live: nothing is searched for by KEYS, nothing is deleted at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from mmstack_ops.adapters.stores.redis.server import RedisServer
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import KeysRule

# Keys a server looks at for one SCAN, and commands of one pipeline: a millisecond or two.
_BATCH = 1_000
_NO_END = -1


class RedisKeys:
    """Keys that match end within the rule's age, counted from the clean-up; sooner ends stay."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: KeysRule) -> Found:
        """Count keys; see ``Strategy.look``."""
        total = endless = late = 0
        with RedisServer.of(site.instance).connect(rule.database) as client:
            seconds, microseconds = client.time()
            for keys in _matching(client, rule):
                site.check()
                for left in _times_left(client, keys):
                    # A key that expired since has -2.
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
        """Give keys their end; see ``Strategy.clean``."""
        seconds = max(1, round(site.age))
        given = 0
        with RedisServer.of(site.instance).connect(rule.database) as client:
            for keys in _matching(client, rule):
                site.check()
                pipeline = client.pipeline(transaction=False)
                for key in keys:
                    # LT (Redis 7): never a later end than a key has; one without any has a later.
                    pipeline.expire(key, seconds, lt=True)
                given += sum(bool(answer) for answer in pipeline.execute())
        return Gone(given, None, (f"they end within {seconds} s",))


def _matching(client: Any, rule: KeysRule) -> Iterator[list[bytes]]:
    """Yield matching keys in batches; a key may come twice, as SCAN has it."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=rule.pattern, count=_BATCH)
        yield keys
        if not cursor:
            return


def _times_left(client: Any, keys: list[bytes]) -> list[int]:
    """Return milliseconds to each key's end: -1 without one, -2 for a key that expired."""
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.pttl(key)
    found: list[int] = pipeline.execute()
    return found
