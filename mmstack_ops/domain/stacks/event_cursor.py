"""The state of the container sensor between ticks, and its decisions. Does not use Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mmstack_ops.domain.stacks.events import ContainerEvent

UNHEALTHY = "health_status: unhealthy"
REPORTED = (UNHEALTHY, "health_status: healthy", "oom", "die", "start")
"""Actions to report in a service's history; exec and similar actions are noise."""

MAX_EVENTS = 100
"""Events processed in one tick; the rest is processed in the next."""
MAX_RESTARTS = 3
RESTART_WINDOW = 3600.0
"""A service restarted ``MAX_RESTARTS`` times in this many seconds is left to the operator."""


@dataclass(frozen=True)
class Watch:
    """The position in the stream of events, and the restarts of services.

    Args:
        since: seconds since the epoch; events before it were processed.
        seen: events at exactly ``since`` that were processed too.
        restarts: service → moments at which a restart was requested.
    """

    since: float
    seen: frozenset[str] = frozenset()
    restarts: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def to_cursor(self) -> str:
        """Return the text that Dagster stores."""
        values = {
            "since": self.since,
            "seen": sorted(self.seen),
            "restarts": {name: list(times) for name, times in sorted(self.restarts.items())},
        }
        return json.dumps(values)

    @classmethod
    def from_cursor(cls, cursor: str | None, *, now: float) -> Watch:
        """Parse the text of ``to_cursor``; without a text, watching starts ``now``."""
        if not cursor:
            return cls(since=now)
        values = json.loads(cursor)
        return cls(
            # A time in the future means the clock was set back: nothing would be read until then.
            since=min(values["since"], now),
            seen=frozenset(values["seen"]),
            restarts={name: tuple(times) for name, times in values["restarts"].items()},
        )

    def take(self, events: Iterable[ContainerEvent]) -> tuple[list[ContainerEvent], Watch]:
        """Return the new events to report, oldest first, and the watch after them."""
        fresh = [e for e in sorted(events, key=lambda e: e.time) if self._is_new(e)]
        taken = fresh[:MAX_EVENTS]
        if not taken:
            return [], self
        last = taken[-1].time
        seen = {event_id(event) for event in taken if event.time == last}
        if last == self.since:
            seen |= self.seen
        after = Watch(since=last, seen=frozenset(seen), restarts=self.restarts)
        return [event for event in taken if event.action in REPORTED], after

    def may_restart(self, service: str, *, now: float) -> bool:
        """Return whether ``service`` had few enough recent restarts to be restarted again."""
        recent = [t for t in self.restarts.get(service, ()) if t > now - RESTART_WINDOW]
        return len(recent) < MAX_RESTARTS

    def with_restart(self, service: str, *, now: float) -> Watch:
        """Return the watch with a restart of ``service`` added."""
        kept = {
            name: recent
            for name, times in self.restarts.items()
            if (recent := tuple(t for t in times if t > now - RESTART_WINDOW))
        }
        kept[service] = (*kept.get(service, ()), now)
        return Watch(since=self.since, seen=self.seen, restarts=kept)

    def _is_new(self, event: ContainerEvent) -> bool:
        return event.time > self.since or (
            event.time == self.since and event_id(event) not in self.seen
        )


def event_id(event: ContainerEvent) -> str:
    """Return the unique id of an event: container, moment, action."""
    return f"{event.container_id[:12]}:{event.time:.6f}:{event.action}"


def last_unhealthy(events: Iterable[ContainerEvent]) -> Iterator[ContainerEvent]:
    """Yield the last "unhealthy" event of each service that became unhealthy."""
    last: dict[str, ContainerEvent] = {}
    for event in events:
        if event.action == UNHEALTHY:
            last[event.service] = event
    yield from last.values()
