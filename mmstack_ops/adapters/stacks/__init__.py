"""Bringing stacks up and down on a real engine."""
