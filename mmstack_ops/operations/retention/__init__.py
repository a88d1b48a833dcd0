"""Delete expired live data of services, and ended containers."""
