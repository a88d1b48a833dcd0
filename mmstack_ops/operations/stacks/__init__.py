"""Bringing services up and down: plan, apply, take back what failed."""
