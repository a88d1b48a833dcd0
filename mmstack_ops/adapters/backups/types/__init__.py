"""Backup types: one file for each."""
