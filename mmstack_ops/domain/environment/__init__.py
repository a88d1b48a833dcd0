"""Environment files: how values are written, and what they may hold."""
