"""Facts: the recorded content of a service, to compare a restored copy with."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field, replace

from mmstack_ops.domain.errors import ArtifactError

# A report with ten thousand differences is of no use.
_SHOWN = 20


@dataclass(frozen=True)
class Facts:
    """The content of a service, recorded in the same way for the source and a restored copy.

    Args:
        figures: name → count; each must be the same in the copy (``tables``, ``rows``).
        items: name of a table, key, point, object or file → digest of its content; each must be
            in the copy with the same digest.
        complete: ``items`` lists everything, so an additional item in the copy is a difference
            too. False for a sample.
        bounds: name → smallest and largest allowed count, if the source changed while it was
            copied.
        not_covered: parts of the source that should be in the backup and aren't: name → reason.
            A proof doesn't include them, and a restore doesn't change them.
        excluded: parts that the schema excludes, or that are never backed up because of their
            kind (a socket, an old version of an object): name → which of these. A restore doesn't
            change them either.

    A name in ``not_covered`` or ``excluded`` also stands for everything below it
    (``volume/folder`` for ``volume/folder/file``).
    """

    figures: Mapping[str, int] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    not_covered: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_out(self) -> Collection[str]:
        """Names of everything that the backup says it doesn't contain."""
        return self.not_covered.keys() | self.excluded.keys()

    def without(self, refused: Mapping[str, str]) -> Facts:
        """Return the facts without the items that a service refused: name → reason.

        Counts are left out too, because they include these items.
        """
        if not refused:
            return self
        items = {name: text for name, text in self.items.items() if not is_below(name, refused)}
        not_covered = {**self.not_covered, **refused}
        return replace(self, figures={}, bounds={}, items=items, not_covered=not_covered)

    def to_bytes(self) -> bytes:
        """Return the facts as JSON; equal facts give equal bytes."""
        document = {
            "figures": dict(self.figures),
            "items": dict(self.items),
            "complete": self.complete,
            "bounds": {name: list(pair) for name, pair in self.bounds.items()},
            "not_covered": dict(self.not_covered),
            "excluded": dict(self.excluded),
        }
        # Plain ASCII: names that aren't UTF-8 (lone surrogates) are kept as \udcxx.
        return json.dumps(document, sort_keys=True).encode("ascii") + b"\n"


def parse_facts(content: bytes) -> Facts:
    """Parse the output of ``Facts.to_bytes``.

    Raises:
        ArtifactError: the content doesn't have that form.
    """
    try:
        found = json.loads(content)
        return Facts(
            figures={str(name): int(count) for name, count in found["figures"].items()},
            items={str(name): str(digest) for name, digest in found["items"].items()},
            complete=bool(found["complete"]),
            bounds={str(n): (int(low), int(high)) for n, (low, high) in found["bounds"].items()},
            # Backups of format 1 don't have these.
            not_covered={str(n): str(why) for n, why in found.get("not_covered", {}).items()},
            excluded={str(n): str(why) for n, why in found.get("excluded", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            "the facts of a backup can't be read",
            why=type(error).__name__,
            remedy="run `mmstack verify`: it looks for a good copy on the other tiers",
        ) from None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison of facts."""

    compared: int
    """Figures, bounds and items that were compared."""
    differences: tuple[str, ...]
    """The first differences, as text."""
    total_differences: int

    @property
    def equal(self) -> bool:
        """Whether no difference was found."""
        return self.total_differences == 0


def compare(expected: Facts, found: Facts) -> Comparison:
    """Compare the content of a restored copy (``found``) with the recorded facts.

    A part of the copy that couldn't be read is a difference: an error is never equal to an error.
    """
    differences = [
        f"{name}: {count} at backup time, {found.figures.get(name, 'nothing')} restored"
        for name, count in expected.figures.items()
        if found.figures.get(name) != count
    ]
    for name, (low, high) in expected.bounds.items():
        count = found.figures.get(name)
        if count is None or not low <= count <= high:
            shown = "nothing" if count is None else count
            differences.append(f"{name}: {low} to {high} at backup time, {shown} restored")
    for name, digest in expected.items.items():
        other = found.items.get(name)
        if other is None:
            differences.append(f"{name} is missing")
        elif other != digest:
            differences.append(f"{name} differs: {digest} at backup time, {other} restored")
    if expected.complete:
        left_out = expected.left_out
        differences += [
            f"{name} wasn't there at backup time"
            for name in found.items
            if name not in expected.items and not is_below(name, left_out)
        ]
    differences += [
        f"{name} can't be compared: {why}"
        for name, why in found.not_covered.items()
        if not is_below(name, expected.left_out)
    ]
    return Comparison(
        compared=len(expected.figures) + len(expected.bounds) + len(expected.items),
        differences=tuple(differences[:_SHOWN]),
        total_differences=len(differences),
    )


def is_below(name: str, places: Container[str]) -> bool:
    """Return whether ``name`` is one of ``places`` or is below one (``place/…``)."""
    while name not in places:
        name, slash, _ = name.rpartition("/")
        if not slash:
            return False
    return True
