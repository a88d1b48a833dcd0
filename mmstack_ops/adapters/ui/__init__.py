"""Dagster's web UI and daemon as processes on this machine."""
