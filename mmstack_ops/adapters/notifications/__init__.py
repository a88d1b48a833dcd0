"""Delivery of notifications to people."""
