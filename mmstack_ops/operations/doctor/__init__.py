"""Checks of this machine and of what an environment needs."""
