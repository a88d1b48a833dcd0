"""Names of secrets as a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from mmstack_ops.adapters.secrets.store import SecretName
from mmstack_ops.cli.output.terminal import stdout


def show_secret_names(environment: str, names: Iterable[SecretName]) -> None:
    """Print name, presence, age and purpose of each secret."""
    table = Table(title=environment, title_justify="left", box=None, header_style="bold")
    for column in ("SECRET", "STATE", "GENERATED"):
        table.add_column(column, no_wrap=True)
    table.add_column("PURPOSE", overflow="fold")
    for name in names:
        state = Text("present", "green") if name.present else Text("missing", "bold red")
        table.add_row(name.name, state, name.created, name.description)
    stdout().print(table)
