"""Arguments and options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from mmstack_ops.cli.completion import complete_environments, complete_targets

Environment = Annotated[
    str | None,
    typer.Option(
        "-e",
        "--environment",
        metavar="ENV",
        help="Environment, by name or short name (dev, prod, …).",
        autocompletion=complete_environments,
    ),
]

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STACK|SERVICE",
        help="Stacks and services; none means the whole environment.",
        autocompletion=complete_targets,
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Gpu = Annotated[bool, typer.Option("--gpu", help="Reserve the GPUs that services declare.")]

Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", metavar="NAME", help="Switch a profile on; may be repeated."),
]

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Only this type of backup; may be repeated."),
]

Tier = Annotated[
    str | None,
    typer.Option("--tier", metavar="TIER", help="From this tier; the nearest when not given."),
]

Tiers = Annotated[
    list[str] | None,
    typer.Option("--tier", metavar="TIER", help="Only this tier; may be repeated."),
]

Backup = Annotated[
    str, typer.Argument(metavar="BACKUP", help="environment/service/type/id, or the id alone.")
]
"""A single backup."""

BackupTargets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STACK|SERVICE|BACKUP]",
        help="Stacks, services or single backups; none: those that are due.",
        show_default=False,
    ),
]
"""The targets and backups of `verify` and `drill`."""
