"""Run a command in a running container."""

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
    """Run ``command`` until it exits; return its exit code.

    Args:
        name: the container's name, for messages.
        on_output: receives the command's output as it arrives, stdout and stderr combined.

    Raises:
        EngineError: the container isn't running, or the engine broke the connection.
    """
    with connection.translated(f"run {command[0]} in {name}") as client:
        created = client.exec_create(container_id, list(command))["Id"]
        # A separate connection without a timeout: a command may write nothing for a long time.
        streaming = connection.new_client()
        streaming.timeout = None
        try:
            for chunk in streaming.exec_start(created, stream=True):
                on_output(chunk)
        finally:
            streaming.close()
        return int(client.exec_inspect(created)["ExitCode"])
