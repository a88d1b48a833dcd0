"""What the adapter makes of a JMeter that left nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mmstack_ops.adapters.engine.failures import MissingObjectError
from mmstack_ops.adapters.load import jmeter
from mmstack_ops.domain.errors import EngineError


class _NoSamples:
    def read_archive(self, container_id: str, name: str, path: str) -> Iterator[bytes]:
        yield from ()
        raise MissingObjectError(f"no {path}")


def test_a_jmeter_that_ends_with_0_and_no_samples_has_failed() -> None:
    engine: Any = _NoSamples()
    container: Any = SimpleNamespace(id="0", name="jmeter-1")
    with pytest.raises(EngineError, match="wrote no samples") as failed:
        jmeter._samples(engine, container, "/results/x/samples.jtl")
    assert not isinstance(failed.value, MissingObjectError)
    assert "jmeter.log" in failed.value.remedy
