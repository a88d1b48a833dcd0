"""Secrets: what is generated, and the values an environment renders to."""
