"""A wipe as one value: shown, confirmed, written into the journal, carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mmstack_ops.domain.errors import InputError
from mmstack_ops.domain.plan_stamp import PlanStamp, digest_of

ItemKind = Literal["container", "volume", "network"]


@dataclass(frozen=True)
class WipeItem:
    """One thing to delete, by exactly what it is.

    Args:
        id: the engine's id; of a volume its name and the mark it got when it was made, since
            the engine gives volumes no ids.
        service: the service it is of, or the ones that write to it.
        loses: what is lost with it, for people; empty where nothing is.
        size: bytes on disk; None where nobody knows.
    """

    kind: ItemKind
    id: str
    name: str
    service: str = ""
    loses: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Stays:
    """Something of the scope that stays, and why."""

    kind: ItemKind
    name: str
    why: str


@dataclass(frozen=True)
class WipePlan:
    """What a wipe will remove, exactly, on which engine.

    Args:
        scope: the word it was asked for by.
        items: what is deleted: containers, then volumes, then networks.
        stays: what one might think would be deleted, and doesn't.
        starts: services that ran and are started again afterwards.
        gpu: with the GPUs they declare, since they ran with them.
        affected: services that go on running though they need what goes.
        refusals: why a guarded environment doesn't let it happen; empty when it may.
        unfinished: an earlier wipe that was killed: what is left of it.
        unproven: the operator does without a proven backup.
        accepted: what the operator said may be lost though no backup holds it.
        guarded: the environment is protected: its confirmation must be typed.
    """

    environment: str
    scope: str
    daemon_id: str
    made_at: datetime
    items: tuple[WipeItem, ...]
    stays: tuple[Stays, ...] = ()
    starts: tuple[str, ...] = ()
    gpu: bool = False
    affected: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    unproven: bool = False
    accepted: tuple[str, ...] = ()
    guarded: bool = False

    @property
    def confirmation(self) -> str:
        """What the operator types: ``production/core``."""
        return f"{self.environment}/{self.scope}"

    @property
    def to_do(self) -> bool:
        """Whether anything goes or is to be started again."""
        return bool(self.items or self.starts)

    @property
    def stamp(self) -> PlanStamp:
        """What it is known by. Sizes and backups change while the plan doesn't."""
        going = sorted([one.kind, one.id] for one in self.items)
        return PlanStamp(
            plan=f"the plan to wipe {self.confirmation}",
            command=f"mmstack -e {self.environment} wipe {self.scope} --plan",
            made_at=self.made_at,
            digest=digest_of(
                [self.environment, self.scope, self.daemon_id, going, sorted(self.starts)]
            ),
            daemon_id=self.daemon_id,
            changes="containers, volumes or networks were created, deleted or recreated since, or"
            " this is another engine",
        )

    @property
    def size(self) -> int | None:
        """Bytes of all volumes to delete; None when one of them is unknown."""
        sizes = [one.size for one in self.items if one.kind == "volume"]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def of_kind(self, kind: ItemKind) -> tuple[WipeItem, ...]:
        """Return the containers, volumes or networks to delete."""
        return tuple(one for one in self.items if one.kind == kind)

    def with_sizes(self, sizes: Mapping[str, int]) -> WipePlan:
        """Return it with bytes by volume name."""
        items = tuple(
            replace(one, size=sizes.get(one.name)) if one.kind == "volume" else one
            for one in self.items
        )
        return replace(self, items=items)

    def raise_if_unconfirmed(self, typed: str) -> None:
        """Raise unless ``typed`` is this plan's confirmation.

        Raises:
            InputError: it isn't.
        """
        if typed != self.confirmation:
            raise InputError(
                f"the wipe isn't confirmed: {typed!r} was typed",
                remedy=f"type {self.confirmation} if that is what is to be deleted",
            )

    def raise_if_guarded(self) -> None:
        """Raise unless the guard of the environment lets this happen.

        Raises:
            InputError: it doesn't; nothing was touched.
        """
        if self.refusals:
            raise InputError(
                f"{self.environment} is protected, and not all that would be deleted is backed up",
                why="; ".join(self.refusals),
                remedy="back it up and prove it (`mmstack backup run`, `mmstack drill`), or say"
                " --without-proven-backup, which is recorded",
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **asdict(self),
            "made_at": self.made_at.isoformat(),
            "digest": self.stamp.digest,
            "confirmation": self.confirmation,
            "size": self.size,
        }


@dataclass(frozen=True)
class WipeResult:
    """What came of a wipe."""

    environment: str
    scope: str
    gone: tuple[WipeItem, ...]
    kept: Mapping[str, str]
    """Name → why it wasn't removed though the plan said so."""
    started: tuple[str, ...] = ()
    not_started: Mapping[str, str] | None = None
    """Service → why it didn't come up again."""
    unproven: bool = False
    seconds: float = 0.0

    @property
    def freed_bytes(self) -> int:
        """Bytes of the deleted volumes, as far as they are known."""
        return sum(one.size or 0 for one in self.gone if one.kind == "volume")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **asdict(self),
            "kept": dict(self.kept),
            "not_started": dict(self.not_started or {}),
            "freed_bytes": self.freed_bytes,
        }
