"""Deleting an environment's data on purpose: what, what stays, and when it is refused."""
