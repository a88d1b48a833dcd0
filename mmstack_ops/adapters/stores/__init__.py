"""Stores: one folder for each, with all of its code, registered as its ``STORE``."""
