"""Compose files on disk."""
