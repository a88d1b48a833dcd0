"""Environment files: how values are written, and which values are allowed."""
