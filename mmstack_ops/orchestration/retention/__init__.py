"""Retention in Dagster: an asset for each service and tier, a job, a schedule."""
