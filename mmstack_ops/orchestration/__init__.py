"""Dagster's side: the only package that imports dagster. It holds no business logic."""
