"""Delete old samples of a Prometheus server if the environment keeps less than the server."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from mmstack_ops.adapters.stores.prometheus.full import PORT, ask
from mmstack_ops.adapters.stores.retention_strategy import Gone, Site, counted
from mmstack_ops.domain.errors import BackupError, RetentionError
from mmstack_ops.domain.moments import from_epoch
from mmstack_ops.domain.retention.live import Found
from mmstack_ops.domain.schema.retention import MetricsRule

_HOUR = 3600.0
_OK = 200
# What is in memory isn't in a block yet; the server writes blocks of two hours.
_BLOCK_HOURS = 3
_NOTHING = 2.0**53
_LOWEST = "prometheus_tsdb_lowest_timestamp_seconds"
_BYTES = "prometheus_tsdb_storage_blocks_bytes"


class PrometheusSamples:
    """Samples before the moment, deleted with the admin API; counted in hours of history."""

    needs_running: ClassVar[bool] = True

    def look(self, site: Site, rule: MetricsRule) -> Found:  # noqa: ARG002 - all series alike
        """Determine how far back the history goes; see ``Strategy.look``."""
        now = from_epoch(float(_value(site, "time()")))
        begin = _begin(site)
        if begin is None:
            return Found("samples", 0, 0, clock=now)
        oldest = _oldest(site, begin)
        hours = _hours(now, oldest)
        late = _hours(site.before, oldest) if oldest < site.before else 0
        kept = ask(site.instance, "GET", "/api/v1/status/runtimeinfo").get("storageRetention", "")
        return Found(
            things="samples",
            total=hours,
            expired=late if late >= _BLOCK_HOURS else 0,
            oldest=oldest,
            clock=now,
            notes=(f"counted in hours of history; the server itself keeps {kept}",),
        )

    def clean(self, site: Site, rule: MetricsRule) -> Gone:
        """Delete the samples, then free the disk space; see ``Strategy.clean``."""
        found = self.look(site, rule)
        before = _bytes(site)
        query = urlencode({"match[]": '{__name__=~".+"}', "end": site.before.timestamp()})
        with counted(site, "samples") as tally:
            ask(site.instance, "POST", f"/api/v1/admin/tsdb/delete_series?{query}")
            # Queried, not taken from the plan: deleted samples are invisible at once.
            tally.count = found.expired - self.look(site, rule).expired
            site.check()
            _free_room(site)
            after = _bytes(site)
        freed = None if before is None or after is None else max(0, before - after)
        return Gone(tally.count, freed, ("counted in hours of history",))


def _free_room(site: Site) -> None:
    """Rewrite blocks without the samples that were deleted from them.

    Raises:
        RetentionError: deleted samples still take disk space.
    """
    try:
        ask(site.instance, "POST", "/api/v1/admin/tsdb/clean_tombstones")
    except BackupError as error:
        raise RetentionError(
            "what was deleted still takes room",
            why=f"{error.what}: {error.why}",
            remedy="the server frees it when it compacts those blocks, or the next clean-up that"
            " deletes something",
        ) from None


def _hours(later: datetime, earlier: datetime) -> int:
    return max(0, math.floor((later - earlier).total_seconds() / _HOUR))


def _begin(site: Site) -> datetime | None:
    """Return when the oldest block begins; None if there is no data.

    A server without samples reports the largest possible number.
    """
    value = _metric(site, _LOWEST)
    return None if value is None or not 0 < value < _NOTHING else from_epoch(value)


def _oldest(site: Site, begin: datetime) -> datetime:
    """Return the hour of the oldest sample, or ``site.before`` if there is none before it.

    A block that was deleted in part still begins where it always did: only its series show what
    is left. The search uses steps that double, then halves the range, so that no answer is longer
    than necessary: older servers can't be asked for the first series only.
    """
    last = _hours(site.before, begin) + 1
    without, within = 0, 1
    while not _has_samples(site, begin, min(within, last)):
        if within >= last:
            return site.before
        without, within = within, within * 2
    within = min(within, last)
    while within - without > 1:
        middle = (without + within) // 2
        if _has_samples(site, begin, middle):
            within = middle
        else:
            without = middle
    return begin + timedelta(hours=without)


def _has_samples(site: Site, begin: datetime, hours: int) -> bool:
    """Return whether any series has a sample in the first hours, and before the rule's moment."""
    end = min(begin + timedelta(hours=hours), site.before)
    query = {
        "match[]": '{__name__=~".+"}',
        "start": begin.timestamp(),
        "end": end.timestamp(),
        "limit": 1,
    }
    return bool(ask(site.instance, "GET", f"/api/v1/series?{urlencode(query)}"))


def _bytes(site: Site) -> int | None:
    value = _metric(site, _BYTES)
    return None if value is None else int(value)


def _metric(site: Site, name: str) -> float | None:
    import requests

    session = requests.Session()
    # The address is the container's: no proxy of this host leads there.
    session.trust_env = False
    port = site.instance.definition.server_port("http", PORT)
    url = f"http://{site.instance.address}:{port}/metrics"
    try:
        with session, session.get(url, timeout=(10, 60)) as response:
            status, lines = response.status_code, response.text.splitlines()
    except requests.RequestException as error:
        raise _silent(site, type(error).__name__) from None
    if status != _OK:
        raise _silent(site, f"status {status}")
    found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
    return float(found[0]) if found else None


def _silent(site: Site, why: str) -> RetentionError:
    return RetentionError(
        f"{site.instance.service} doesn't tell its own metrics",
        why=why,
        remedy=f"look at its log: `mmstack logs {site.instance.service}`",
    )


def _value(site: Site, expression: str) -> Any:
    """Return the result of an instant query for a scalar."""
    answer = ask(site.instance, "GET", f"/api/v1/query?{urlencode({'query': expression})}")
    return answer["result"][1]
