"""Retention: rules, safety rails and plans. Nothing here deletes anything."""
