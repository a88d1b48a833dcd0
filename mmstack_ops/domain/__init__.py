"""What the product knows and decides: models, plans, rules. No I/O, no Dagster, no Docker."""
