"""Secrets: generated values, and the rendered values of an environment."""
