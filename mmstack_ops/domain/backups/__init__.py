"""Backups: artifacts, plans and proofs. No side effects."""
