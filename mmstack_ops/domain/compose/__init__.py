"""Compose files as plain data."""
