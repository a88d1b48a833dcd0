"""The share of a pull, from lines as an engine writes them."""

from __future__ import annotations

from typing import Any

from mmstack_ops.adapters.engine.pull_progress import PullProgress


def _line(layer: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"id": layer, "status": status, "progressDetail": detail}


def test_extraction_does_not_begin_anew() -> None:
    progress = PullProgress()
    assert progress.take({"id": "1", "status": "Pulling from x"}) is None
    assert progress.take(_line("a", "Pulling fs layer")) == 0
    assert progress.take(_line("a", "Downloading", 50, 100)) == 0.25
    assert progress.take(_line("a", "Download complete")) == 0.5
    assert progress.take(_line("a", "Extracting", 10, 100)) == 0.55
    assert progress.take(_line("a", "Pull complete")) == 1


def test_a_small_layer_that_is_through_hides_no_large_one() -> None:
    progress = PullProgress()
    for layer in ("small", "large"):
        progress.take(_line(layer, "Pulling fs layer"))
    assert progress.take(_line("small", "Pull complete")) == 0.5
    assert progress.take(_line("large", "Downloading", 1, 2)) == 0.625


def test_a_download_that_begins_anew_is_no_step_back() -> None:
    progress = PullProgress()
    assert progress.take(_line("a", "Downloading", 80, 100)) == 0.4
    assert progress.take(_line("a", "Downloading", 10, 100)) == 0.4


def test_layers_that_are_there_have_no_share() -> None:
    assert PullProgress().take(_line("a", "Already exists")) is None
