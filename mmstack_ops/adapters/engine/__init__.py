"""The Docker engine: a read-only handle, and a handle that can write."""
