"""Deleting what is past its age in services' live data, and containers that ended."""
