"""``python -m mmstack_ops``: the same as ``mmstack``."""

from mmstack_ops.cli.main import run

run()
