"""Backups: what an artifact is, what is planned, what was proven. No side effects."""
