"""Load tests: the figures of their samples."""
