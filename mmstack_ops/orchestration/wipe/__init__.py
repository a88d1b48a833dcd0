"""Wipes as Dagster runs: a job for each scope, and what pauses meanwhile."""
