"""Dagster definitions and runs. The only package that imports dagster; no business logic."""
