"""Progress of a run on backups: live bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys

from mmstack_ops.cli.output.colour import painted
from mmstack_ops.cli.output.display import Lines
from mmstack_ops.domain.backups.events import (
    BackupDone,
    BackupEvent,
    BackupProgress,
    Proof,
    RestoreDone,
    VerifyResult,
)
from mmstack_ops.domain.backups.outcomes import PartFailed
from mmstack_ops.domain.backups.tape import TapeVolume
from mmstack_ops.domain.retention.live import RuleCleaned
from mmstack_ops.domain.retention.retention_plan import SeriesCleaned
from mmstack_ops.domain.stacks.events import ApplyEvent, Progress, ServiceResult
from mmstack_ops.domain.units import format_bytes, format_seconds
from mmstack_ops.domain.wipe.wipe_plan import WipeResult

Event = BackupEvent | PartFailed | ApplyEvent | WipeResult | TapeVolume


class BackupLines(Lines):
    """One line for each phase of each series, and one for its outcome."""

    subject_width = 26

    def show(self, event: Event) -> None:
        """Write a line if the event is new."""
        subject = subject_of(event)
        if isinstance(event, BackupProgress | Progress):
            # A transfer reports progress many times a second; its phase is new only once.
            counting = isinstance(event, BackupProgress) and event.done_bytes is not None
            news = event.phase if counting else f"{event.phase}{event.message}"
            if not self.is_news(subject, news):
                return
            text = f"{event.phase:<12} {event.message}"
        else:
            self.forget(subject)
            word, style, rest = outcome(event)
            text = f"{painted(f'{word:<12}', style, sys.stderr)} {rest}"
        self.write(subject, text)


def subject_of(event: Event) -> str:
    """Return the subject of ``event``, such as ``postgres/full``."""
    if isinstance(event, BackupProgress):
        return f"{event.service}/{event.type}" if event.type else event.service or "run"
    if isinstance(event, PartFailed):
        return event.subject
    if isinstance(event, BackupDone):
        return f"{event.manifest.service}/{event.manifest.type}"
    if isinstance(event, SeriesCleaned):
        return str(event.series)
    if isinstance(event, RuleCleaned):
        return f"{event.service}: {event.label}"
    if isinstance(event, VerifyResult | Proof | RestoreDone):
        return f"{event.ref.service}/{event.ref.type}"
    if isinstance(event, WipeResult):
        return f"{event.environment}/{event.scope}"
    if isinstance(event, TapeVolume):
        return f"{event.tier}: {event.name}"
    return event.service or "run"


def outcome(event: Event) -> tuple[str, str, str]:
    """Return an outcome as word, style and details."""
    if isinstance(event, BackupDone):
        stored = format_bytes(event.manifest.stored_bytes)
        details = f"{stored} on {event.tier} in {format_seconds(event.seconds)}"
        if not event.manifest.covers_all and event.outcome == "taken":
            left_out = event.manifest.not_covered_text()
            return event.outcome, "yellow", f"{details}: {event.manifest.id}; {left_out}"
        return event.outcome, "green", f"{details}: {event.manifest.id}"
    if isinstance(event, VerifyResult):
        if event.damaged:
            return "corrupt", "bold red", f"{event.ref.id} on {event.tier}: {event.problems[0]}"
        if event.unsound:
            return "unproven", "bold red", f"{event.ref.id} on {event.tier}: {event.unsound[0]}"
        if event.healed_from:
            healed = f"{event.ref.id} on {event.tier}, from {event.healed_from}"
            return "healed", "yellow", healed
        return "verified", "green", f"{event.ref.id} on {event.tier}"
    if isinstance(event, Proof):
        if event.proven:
            restored = format_seconds(event.seconds_to_restore)
            compared = f"{event.comparison.compared} comparisons, restored in {restored}"
            if checks := len(event.checks):
                compared += f", {checks} {'check' if checks == 1 else 'checks'} passed"
            if event.complete:
                return "proven", "green", f"{event.ref.id}: {compared}"
            left_out = f"not complete; {event.not_covered}"
            return "proven in part", "yellow", f"{event.ref.id}: {compared}; {left_out}"
        return "unproven", "bold red", f"{event.ref.id}, because {event.unproven}"
    if isinstance(event, RestoreDone):
        if event.refused:
            named = "; ".join(f"{name}: {why}" for name, why in list(event.refused.items())[:3])
            count = f"{len(event.refused)} not taken back"
            return "partial", "yellow", f"{event.ref.id} into {event.target}, {count}: {named}"
        style = "yellow" if event.passed_over else "green"
        return "restored", style, f"{event.ref.id} into {event.target}"
    if isinstance(event, SeriesCleaned):
        freed = f"{len(event.deleted)} backups on {event.tier}, {format_bytes(event.freed_bytes)}"
        kept = f"; {len(event.kept)} kept after all" if event.kept else ""
        return "deleted", "yellow" if event.kept else "green", freed + kept
    if isinstance(event, RuleCleaned):
        room = "" if event.freed_bytes is None else f", {format_bytes(event.freed_bytes)}"
        notes = "".join(f"; {note}" for note in event.notes)
        return "cleaned", "green", f"{event.deleted} {event.things}{room}{notes}"
    if isinstance(event, WipeResult):
        kept = f"; {len(event.kept)} kept" if event.kept else ""
        style = "yellow" if event.kept else "green"
        return "wiped", style, f"{len(event.gone)} things, {format_bytes(event.freed_bytes)}{kept}"
    if isinstance(event, TapeVolume):
        return "blank", "green", f"{format_bytes(event.stored)} are free again"
    if isinstance(event, PartFailed):
        return "failed", "bold red", event.error.splitlines()[0]
    if isinstance(event, ServiceResult):
        return event.outcome, "dim", event.error or event.reason
    return event.phase, "dim", event.message
