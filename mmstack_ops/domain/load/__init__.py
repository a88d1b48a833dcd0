"""Load tests: what their samples say."""
