"""Read the addresses of the host and of the engine."""
