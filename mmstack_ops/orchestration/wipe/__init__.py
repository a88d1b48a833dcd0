"""Wipes as Dagster runs: a job for each scope, and the pause of schedules and sensors."""
