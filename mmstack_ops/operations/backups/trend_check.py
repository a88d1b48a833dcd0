"""Check the trend of a series in a drill: compare a backup with the last proven ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from mmstack_ops.adapters.stores.backup_type import OpenArtifact
from mmstack_ops.artifacts.artifact_reader import Artifact, read_manifest
from mmstack_ops.artifacts.records import accepted_reason
from mmstack_ops.domain.backups.backup_plan import Series
from mmstack_ops.domain.backups.events import DrillCheck
from mmstack_ops.domain.backups.trend import (
    Content,
    Unchanged,
    content_of,
    findings,
    proven_before,
)
from mmstack_ops.domain.errors import ArtifactError, InputError, TierError
from mmstack_ops.domain.schema.policies import Trend

if TYPE_CHECKING:
    from mmstack_ops.artifacts.encryption import Keys
    from mmstack_ops.domain.backups.reference import BackupRef
    from mmstack_ops.domain.catalogue.resolve import Catalogue
    from mmstack_ops.operations.backups.tier_contents import TierContents

TREND = "trend"
"""Name of the check."""


def series_trend(
    artifact: OpenArtifact,
    holdings: TierContents,
    keys: Keys,
    catalogue: Catalogue,
    tell: Callable[[str], None],
) -> DrillCheck:
    """Compare a backup with the last proven ones of its series, on any tier.

    Otherwise like ``trend_check``.
    """
    ref = artifact.manifest.ref
    own = catalogue.services[ref.service].definition.backup.trend
    rows = holdings.contents(series=[Series(ref.service, ref.type)]).rows
    reasons = (accepted_reason(tier, ref) for tier in holdings.holders(ref))

    def opened(other: BackupRef) -> Artifact:
        tier = holdings.nearest(other)
        return Artifact(tier, read_manifest(tier, other), keys)

    return trend_check(
        artifact,
        [partial(opened, other) for other in proven_before(rows, ref)],
        catalogue.schema.backup.trend.with_own(own),
        accepted=next((reason for reason in reasons if reason is not None), None),
        tell=tell,
    )


def trend_check(
    artifact: OpenArtifact,
    earlier: Iterable[Callable[[], OpenArtifact]],
    policy: Trend,
    *,
    accepted: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> DrillCheck:
    """Compare the content of a backup with the last proven ones.

    Args:
        earlier: open the last proven backups of the series, newest first. A backup that can't be
            read is reported and skipped.
        accepted: why the suspicious findings about this backup were accepted; None: they weren't.

    Raises:
        ArtifactError, TierError: the backup itself can't be read.
    """
    if not policy.check:
        return DrillCheck(TREND, True, "not looked at: the schema says so")
    now = content_of(artifact.manifest, artifact.facts())
    before: list[Content] = []
    found: tuple[str, ...] = ()
    unchanged: Unchanged | None = None
    unread = 0
    for opened in earlier:
        try:
            one = opened()
            content = content_of(one.manifest, one.facts())
            same = _unchanged(artifact, one) if not before else None
        except (ArtifactError, InputError, TierError) as error:
            unread += 1
            tell(f"an earlier proven backup can't be compared with: {error.what}")
            continue
        unchanged = unchanged or same
        before.append(content)
        found = findings(now, before, policy, unchanged)
        if not found:
            # Older backups only show what was empty before: they add no suspicious findings.
            break
    if not before:
        why = f"{unread} earlier ones can't be read" if unread else "it is the first one"
        return DrillCheck(TREND, True, f"nothing to compare with: {why}")
    base = before[0].ref.id
    if not found:
        return DrillCheck(TREND, True, f"as expected from {base}, the last proven backup")
    words = f"suspicious, compared with {base}, the last proven backup: {'; '.join(found)}"
    if accepted is not None:
        return DrillCheck(TREND, True, f"accepted ({accepted}): {words}")
    return DrillCheck(TREND, False, words)


def _unchanged(artifact: OpenArtifact, base: OpenArtifact) -> Unchanged | None:
    if not (base.manifest.with_role("index") and artifact.manifest.with_role("index")):
        return None
    # A million names and digests need too much memory; their hashes don't.
    known = {hash((one.file.path, one.sha256)) for one in base.entries() if one.has_content}
    same = {
        one
        for entry in artifact.entries()
        if entry.has_content and (one := hash((entry.file.path, entry.sha256))) in known
    }
    return Unchanged(files=len(known), unchanged=len(same))
