"""Storage tiers: one file for each kind, one contract for all."""
