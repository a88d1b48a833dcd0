"""Sensors of container events, failed runs, backups and tiers."""
