"""The Docker engine: a handle that can only read, and one that can write."""
