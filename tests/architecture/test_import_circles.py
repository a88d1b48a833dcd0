"""No two modules import each other, directly or through others."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp


def test_no_circle_of_imports() -> None:
    # Imports for types only and those inside functions count, too: a reader follows them.
    graph = grimp.build_graph("mmstack_ops", cache_dir=None)
    imports = {
        module: graph.find_modules_directly_imported_by(module) - {module}
        for module in graph.modules
        # A package imports what it names of its own.
        if not graph.find_children(module)
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None
