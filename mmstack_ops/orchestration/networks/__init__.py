"""Networks in Dagster: an asset for each stack's, and a check of its addresses."""
