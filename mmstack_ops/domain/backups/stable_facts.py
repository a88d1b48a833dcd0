"""Find the facts that stayed the same during the capture of a changing source."""

from __future__ import annotations

from mmstack_ops.domain.backups.facts import Facts


def stable_facts(before: Facts, after: Facts) -> Facts:
    """Return the facts that are the same before and after, with bounds for counts that changed.

    They are complete only if nothing changed at all.
    """
    items = {name: one for name, one in before.items.items() if after.items.get(name) == one}
    figures = {n: c for n, c in before.figures.items() if after.figures.get(n) == c}
    bounds = {
        name: (min(count, after.figures[name]), max(count, after.figures[name]))
        for name, count in before.figures.items()
        if name not in figures and name in after.figures
    }
    still = before.items == after.items and before.figures == after.figures
    return Facts(figures=figures, items=items, complete=still, bounds=bounds)
