"""Locks that hold across processes of one host."""
