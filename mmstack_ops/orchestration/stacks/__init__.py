"""Stacks as assets, checks and jobs."""
