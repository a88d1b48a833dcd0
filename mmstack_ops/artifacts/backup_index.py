"""List all backups. The tiers are the only source: there is no other catalogue to lose."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmstack_ops.artifacts.records import hold_reason
from mmstack_ops.domain.backups.listing import Listing, group, is_held, merge
from mmstack_ops.domain.backups.reference import BackupRef
from mmstack_ops.domain.backups.status import BackupRow
from mmstack_ops.domain.backups.tier import by_folder
from mmstack_ops.domain.errors import MmstackError, TierError

if TYPE_CHECKING:
    from mmstack_ops.domain.backups.tier import Folder, Tier


@dataclass(frozen=True)
class Contents:
    """The contents of all tiers.

    Args:
        rows: all backups, newest first.
        partial: tier → folders without a manifest: in progress, or left by a killed process.
        down: tier → why it couldn't be listed; its copies are missing in ``rows``.
    """

    rows: tuple[BackupRow, ...]
    partial: Mapping[str, tuple[BackupRef, ...]] = field(default_factory=dict)
    down: Mapping[str, TierError] = field(default_factory=dict)


def list_backups(
    tiers: Sequence[Tier], prefixes: Iterable[str] = ("",), *, sizes: bool = False
) -> Contents:
    """Return the backups on several tiers, listed in parallel.

    The reasons of holds are the only files that are read. A tier that is down delays and hides
    only its own copies.

    Args:
        prefixes: such as ``production/`` or ``production/postgres/full/``.
        sizes: get the sizes even if each one needs a separate request.
    """
    with _without_collector():
        return _list_all(tiers, tuple(prefixes), sizes)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable the cyclic garbage collector for the block: nothing here has cycles.

    Each of its passes visits all entries created so far, which doubles the time for 100,000.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _list_all(tiers: Sequence[Tier], wanted: tuple[str, ...], sizes: bool) -> Contents:
    listings: dict[str, Listing] = {}
    down: dict[str, TierError] = {}
    if len(tiers) == 1:
        found = [_list(tiers[0], wanted, sizes)]
    else:
        with ThreadPoolExecutor(max_workers=max(1, len(tiers))) as pool:
            found = list(pool.map(lambda tier: _list(tier, wanted, sizes), tiers))
    for tier, answer in zip(tiers, found, strict=True):
        if isinstance(answer, Listing):
            listings[tier.name] = answer
        else:
            down[tier.name] = answer
    return Contents(
        rows=tuple(merge(listings, reasons=_reasons(tiers, listings))),
        partial={name: tuple(listing.partial) for name, listing in listings.items()},
        down=down,
    )


def _list(tier: Tier, prefixes: Sequence[str], sizes: bool) -> Listing | TierError:
    try:
        tier.check(writing=False)
        return group(folder for prefix in prefixes for folder in _folders(tier, prefix, sizes))
    except TierError as error:
        return error


def _folders(tier: Tier, prefix: str, sizes: bool) -> Iterator[Folder]:
    return by_folder(tier.list(prefix)) if sizes else tier.folders(prefix)


def _reasons(tiers: Sequence[Tier], listings: Mapping[str, Listing]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for tier in tiers:
        listing = listings.get(tier.name, Listing())
        for text, names in listing.records.items():
            if text not in reasons and is_held(names):
                try:
                    reasons[text] = hold_reason(tier, BackupRef(*text.split("/"))) or "on hold"
                except MmstackError as error:
                    # The record's name says that the backup is on hold. This counts even if the
                    # reason can't be read.
                    reasons[text] = f"on hold ({error.what})"
    return reasons
