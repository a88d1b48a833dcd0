"""Pull or build each image once, while services that don't need it start."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from mmstack_ops.adapters.engine.writer import EngineWriter
from mmstack_ops.domain.errors import CancelledError, MmstackError
from mmstack_ops.domain.stacks.events import Phase
from mmstack_ops.domain.stacks.spec import ServiceSpec
from mmstack_ops.domain.stacks.stack_plan import Action

Tell = Callable[[str, str, Phase, str, float | None], None]
_POLL_SECONDS = 0.2


class ImageWork:
    """The work of pulling and building the images of a plan, in the background.

    Args:
        engine: the engine, writable.
        cancel: set to stop waiting; a pull in the engine ends with its connection.
        tell: receives service, stack, phase, message and the fraction done.
        fresh: build without cache.
    """

    def __init__(
        self, engine: EngineWriter, cancel: threading.Event, tell: Tell, *, fresh: bool
    ) -> None:
        self._engine = engine
        self._cancel = cancel
        self._tell = tell
        self._fresh = fresh
        self._done: dict[str, Future[None]] = {}

    def begin(self, actions: Iterable[Action]) -> None:
        """Start to pull or build every image that the actions name."""
        for action in actions:
            if action.kind in ("pull", "build") and action.image is not None:
                self._done[action.target] = self._in_background(action)

    def wait_for(self, service: ServiceSpec) -> None:
        """Wait until the service's image is present.

        Raises:
            ImageUnavailableError: the image isn't available.
            CancelledError: the work was cancelled in the meantime.
        """
        future = self._done.get(service.image.reference)
        if future is not None:
            future.result()

    def _in_background(self, action: Action) -> Future[None]:
        future: Future[None] = Future()

        def work() -> None:
            try:
                self._get(action)
            except MmstackError as error:
                future.set_exception(error)
            except Exception as error:
                # Any exception of the thread must reach the waiting thread.
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=work, name=f"image-{action.target}", daemon=True).start()
        return future

    def _get(self, action: Action) -> None:
        image = action.image
        assert image is not None
        phase: Phase = "pulling" if action.kind == "pull" else "building"
        steps = (
            self._engine.pull(image)
            if action.kind == "pull"
            else self._engine.build(image, fresh=self._fresh)
        )
        for message, share in self._interruptible(steps, action.target):
            self._tell(action.service, action.stack, phase, f"{action.target}: {message}", share)

    def _interruptible(
        self, steps: Iterator[tuple[str, float | None]], target: str
    ) -> Iterator[tuple[str, float | None]]:
        """Yield from ``steps``; detect a cancellation even while the registry is silent."""
        items: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def read() -> None:
            try:
                for step in steps:
                    items.put(step)
            except Exception as error:
                items.put(error)
            items.put(None)

        threading.Thread(target=read, name=f"stream-{target}", daemon=True).start()
        while True:
            try:
                item = items.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                item = ()
            if self._cancel.is_set():
                raise CancelledError(f"cancelled while getting image {target}")
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            if item:
                yield item
