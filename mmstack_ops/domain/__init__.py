"""The domain layer: models, plans and rules. No I/O, no Dagster, no Docker."""
