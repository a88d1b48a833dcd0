"""Backups in Dagster: assets by tier, checks, jobs."""
