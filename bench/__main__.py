"""Run all benchmarks, or those named, print their tables and keep them in docs/performance.md.

Usage: ``python -m bench [NAME…]``; without names, all of them.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from pathlib import Path

from bench.measure import as_markdown

_ALL = (
    "reconcile",
    "commands",
    "definitions",
    "whole_stack",
    "web_ui",
    "postgres",
    "trees",
    "s3_upload",
    "retention",
)
_REPORT = Path(__file__).parents[1] / "docs" / "performance.md"
_INTRODUCTION = """# Performance

Measured by `make bench` on a machine with {cores} cores and {memory:.0f} GiB of memory,
{system}, Python {python}. Figures are medians; where there is a peer, both run in turn in one
run, and the ratio is what counts: absolute times are this machine's.

"""


def main() -> None:
    """Run the named benchmarks; write the report only when all of them ran."""
    names = sys.argv[1:] or list(_ALL)
    if unknown := [name for name in names if name not in _ALL]:
        sys.exit(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(_ALL)}")
    tables: list[str] = []
    for name in names:
        module = import_module(f"bench.{name}")
        table = as_markdown(module.TITLE, module.run())
        print(table, flush=True)
        tables.append(table)
    if tuple(names) == _ALL:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        introduction = _INTRODUCTION.format(
            cores=os.cpu_count(),
            memory=memory,
            system=platform.system(),
            python=platform.python_version(),
        )
        _REPORT.write_text(introduction + "\n".join(tables))
        print(f"written to {_REPORT.relative_to(Path.cwd())}")


main()
