"""Running a command in a container that already runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmstack_ops.adapters.engine.client import EngineConnection


def execute(
    connection: EngineConnection,
    container_id: str,
    name: str,
    command: Sequence[str],
    *,
    on_output: Callable[[bytes], None] = lambda _chunk: None,
) -> int:
    """Run ``command`` to its end; return its exit code.

    Args:
        name: the container's name, for messages.
        on_output: receives what the command writes, both streams in one, as it comes.

    Raises:
        EngineError: the container doesn't run, or the engine broke off.
    """
    with connection.translated(f"run {command[0]} in {name}") as client:
        created = client.exec_create(container_id, list(command))["Id"]
        # A connection of its own, and without a time limit: a command may be silent for long.
        streaming = connection.new_client()
        streaming.timeout = None
        try:
            for chunk in streaming.exec_start(created, stream=True):
                on_output(chunk)
        finally:
            streaming.close()
        return int(client.exec_inspect(created)["ExitCode"])
