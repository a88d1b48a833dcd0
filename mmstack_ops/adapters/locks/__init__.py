"""Locks across the processes of one host."""
