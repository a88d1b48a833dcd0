"""Wipes of an environment's data: what is deleted, what is kept, and when it is refused."""
