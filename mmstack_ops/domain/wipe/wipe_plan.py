"""The plan of a wipe, as one value that is shown, confirmed, journaled and applied."""

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
    """One object to delete, with its exact identity.

    Args:
        id: the engine's id; for a volume, its name and the id in its label, because the engine
            gives volumes no ids.
        service: the service it belongs to, or the services that write to it.
        loses: what is lost with it, for display; empty if nothing is.
        size: bytes on disk; None if unknown.
    """

    kind: ItemKind
    id: str
    name: str
    service: str = ""
    loses: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Stays:
    """An object of the scope that is kept, and the reason."""

    kind: ItemKind
    name: str
    why: str


@dataclass(frozen=True)
class WipePlan:
    """The exact objects that a wipe deletes on one engine.

    Args:
        scope: the name of the scope.
        items: what is deleted: containers, then volumes, then networks.
        stays: objects that one might expect to be deleted, but that are kept.
        starts: services that ran and are started again afterwards.
        gpu: they are started with the GPUs they declare, because they ran with them.
        affected: services that keep running although they need what is deleted.
        refusals: why a protected environment refuses the wipe; empty if it is allowed.
        unfinished: what is left of an earlier wipe that was killed.
        unproven: the operator does without a proven backup.
        accepted: what the operator accepts to lose although no backup contains it.
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
        """What the operator must type: ``production/core``."""
        return f"{self.environment}/{self.scope}"

    @property
    def to_do(self) -> bool:
        """Whether anything is deleted or started again."""
        return bool(self.items or self.starts)

    @property
    def stamp(self) -> PlanStamp:
        """The plan's stamp. Sizes and backups aren't in it: they change while the plan doesn't."""
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
        """Bytes of all volumes to delete; None if the size of one is unknown."""
        sizes = [one.size for one in self.items if one.kind == "volume"]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def of_kind(self, kind: ItemKind) -> tuple[WipeItem, ...]:
        """Return the containers, volumes or networks to delete."""
        return tuple(one for one in self.items if one.kind == kind)

    def with_sizes(self, sizes: Mapping[str, int]) -> WipePlan:
        """Return the plan with sizes in bytes, given by volume name."""
        items = tuple(
            replace(one, size=sizes.get(one.name)) if one.kind == "volume" else one
            for one in self.items
        )
        return replace(self, items=items)

    def raise_if_unconfirmed(self, typed: str) -> None:
        """Raise InputError unless ``typed`` is this plan's confirmation.

        Raises:
            InputError: ``typed`` is anything else.
        """
        if typed != self.confirmation:
            raise InputError(
                f"the wipe isn't confirmed: {typed!r} was typed",
                remedy=f"type {self.confirmation} if that is what is to be deleted",
            )

    def raise_if_guarded(self) -> None:
        """Raise InputError if the environment's guard refuses the wipe.

        Raises:
            InputError: the wipe is refused; nothing was changed.
        """
        if self.refusals:
            raise InputError(
                f"{self.environment} is protected, and not all that would be deleted is backed up",
                why="; ".join(self.refusals),
                remedy="back it up and prove it (`mmstack backup run`, `mmstack drill`), or say"
                " --without-proven-backup, which is recorded",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            **asdict(self),
            "made_at": self.made_at.isoformat(),
            "digest": self.stamp.digest,
            "confirmation": self.confirmation,
            "size": self.size,
        }


@dataclass(frozen=True)
class WipeResult:
    """The result of a wipe."""

    environment: str
    scope: str
    gone: tuple[WipeItem, ...]
    kept: Mapping[str, str]
    """Name → why it wasn't deleted although the plan said so."""
    started: tuple[str, ...] = ()
    not_started: Mapping[str, str] | None = None
    """Service → why it didn't start again."""
    unproven: bool = False
    seconds: float = 0.0

    @property
    def freed_bytes(self) -> int:
        """Bytes of the deleted volumes, as far as they are known."""
        return sum(one.size or 0 for one in self.gone if one.kind == "volume")

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON values."""
        return {
            **asdict(self),
            "kept": dict(self.kept),
            "not_started": dict(self.not_started or {}),
            "freed_bytes": self.freed_bytes,
        }
