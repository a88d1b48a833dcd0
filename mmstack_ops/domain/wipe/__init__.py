"""Deleting an environment's data on purpose: what goes, what stays, and when it is refused."""
