"""Networks in Dagster: an asset for each stack's network, and checks of it."""
