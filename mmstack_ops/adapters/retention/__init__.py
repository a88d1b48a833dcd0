"""Retention of live data: what is too old on the services themselves."""
