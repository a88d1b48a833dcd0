"""Check that retention of live data fits the rest of the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmstack_ops.domain.schema.document import Path
from mmstack_ops.domain.schema.problem import Problem
from mmstack_ops.domain.schema.retention import FilesRule, RetentionRule, RevisionsRule, label_of
from mmstack_ops.domain.schema.root import Schema
from mmstack_ops.domain.schema.service import Service

_METHODS: Mapping[str, str] = {
    "rows": "postgres",
    "keys": "redis",
    "points": "qdrant",
    "collections": "qdrant",
    "objects": "s3",
    "revisions": "huggingface",
    "indices": "elasticsearch",
    "metrics": "prometheus",
}
"""Strategy → the `backup.method` of services it works on; other strategies work on any."""
_OTHER_PLACES = ("live", "runs")
"""Names used in Dagster's retention keys in the place of a tier's name."""


def live_retention_is_possible(schema: Schema) -> Iterator[Problem]:
    """Yield problems of rules that can't be applied, or would delete data without a backup."""
    for tier in _OTHER_PLACES:
        if tier in schema.backup.tiers:
            yield Problem(("backup", "tiers", tier), f"a tier can't be called {tier!r}")
    for name, service in schema.services.items():
        seen: set[str] = set()
        for index, rule in enumerate(service.retention):
            at: Path = ("services", name, "retention", index)
            label = label_of(rule)
            if label in seen:
                yield Problem(at, f"a second rule for {label!r}")
            seen.add(label)
            yield from _possible(at, service, rule)
            yield from _backed_up(at, schema, service, rule)


def _possible(at: Path, service: Service, rule: RetentionRule) -> Iterator[Problem]:
    method = _METHODS.get(rule.strategy)
    if method is not None and service.backup.method != method:
        message = (
            f"the strategy {rule.strategy!r} is for services whose backup method is {method!r},"
            f" not {service.backup.method!r}"
        )
        yield Problem((*at, "strategy"), message)
    if isinstance(rule, FilesRule | RevisionsRule):
        targets = [m.target.rstrip("/") for m in service.mounts if m.volume is not None]
        if not any(rule.path == one or rule.path.startswith(f"{one}/") for one in targets):
            yield Problem((*at, "path"), f"{rule.path} is on no volume of this service")


def _backed_up(
    at: Path, schema: Schema, service: Service, rule: RetentionRule
) -> Iterator[Problem]:
    wanted = rule.backup_before_cleanup
    if wanted is None:
        wanted = schema.retention.backup_before_cleanup
    if wanted and not set(service.backup.types) - {"config"}:
        message = (
            "its data is to be backed up before it is deleted, but the service has no backup of its"
            " data: declare one, or say backup_before_cleanup: false"
        )
        yield Problem(at, message)
