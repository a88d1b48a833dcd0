"""Whole commands: what an operator waits for at the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import docker

from bench.measure import Row, command_seconds, median_of, seconds_row
from bench.project import bench_product

TITLE = "Whole commands"
_MMSTACK = [str(Path(sys.executable).with_name("mmstack"))]


def run() -> list[Row]:
    """Measure the reading verbs and an unchanged start, with the core stack up."""
    engine = docker.DockerClient(timeout=60)
    with bench_product(engine) as product:
        options = {"env": {**os.environ, **product.environment}, "cwd": product.root}

        def command(*words: str) -> float:
            return command_seconds([*_MMSTACK, *words], **options)

        first = command("start", "core")
        return [
            seconds_row("`mmstack start core`, from nothing", first),
            seconds_row(
                "`mmstack start core`, unchanged, Dagster included",
                median_of(lambda: command("start", "core"), 5),
                at_most=5,
            ),
            seconds_row(
                "`mmstack status --json`",
                median_of(lambda: command("status", "--json"), 9),
                at_most=0.5,
            ),
            seconds_row(
                "`mmstack plan core`", median_of(lambda: command("plan", "core"), 9), at_most=0.5
            ),
            seconds_row("`mmstack --help`", median_of(lambda: command("--help"), 9)),
        ]
